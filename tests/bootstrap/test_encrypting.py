import asyncio
from pathlib import Path

import pytest
import trustme

from proxy.bootstrap.encrypting import encrypting
from proxy.config.tls import TlsSettings
from proxy.errors import Misconfigured


async def test_without_a_certificate_there_is_no_tls() -> None:
    async with encrypting(TlsSettings()) as tls:
        assert tls is None


async def test_the_files_of_the_settings_are_used_and_looked_at_no_longer_than_needed(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("gate.example")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    key.touch(0o600)
    key.write_bytes(issued.private_key_pem.bytes())
    before = asyncio.all_tasks()
    async with encrypting(TlsSettings(certificate=certificate, key=key)) as tls:
        assert tls is not None
        assert 1 == len(asyncio.all_tasks() - before)

    assert before == asyncio.all_tasks()


async def test_files_that_will_not_do_are_told(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        async with encrypting(TlsSettings(certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem")):
            pass
