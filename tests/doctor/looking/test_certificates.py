import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.config.tls import TlsSettings
from proxy.doctor.certificates import Certificate, findings
from proxy.doctor.looking import certificates as looking
from tests.doctor.shown import shown

NOW = datetime.now(UTC)


class Files:
    """What an authority has issued, in a folder."""

    def __init__(self, folder: Path, **dates: Any) -> None:
        self.ca = trustme.CA()
        self.certificate, self.key = folder / "cert.pem", folder / "key.pem"
        self.issued = self.ca.issue_cert("gate.example", **dates)
        self.certificate.write_bytes(b"".join(one.bytes() for one in self.issued.cert_chain_pems))
        self.put_key(self.issued, 0o600)

    def put_key(self, issued: trustme.LeafCert, mode: int) -> None:
        self.key.write_bytes(issued.private_key_pem.bytes())
        self.key.chmod(mode)

    def look(self, *, trusts: trustme.CA | None = None) -> Certificate:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        (trusts or self.ca).configure_trust(client)
        found = looking.look(TlsSettings(certificate=self.certificate, key=self.key), client)
        assert found is not None
        return found


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_without_tls_there_is_nothing_to_look_at() -> None:
    assert None is looking.look(TlsSettings())


def test_a_good_one_is_found_good(files: Files) -> None:
    assert {"ok"} == {*shown(findings(files.look(), NOW)).values()}


def test_an_intermediate_in_the_file_completes_the_chain_and_without_it_the_chain_is_broken(tmp_path: Path) -> None:
    files, root = Files(tmp_path), trustme.CA()
    issued = root.create_child_ca().issue_cert("gate.example")
    files.put_key(issued, 0o600)
    files.certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
    whole = shown(findings(files.look(trusts=root), NOW))
    files.certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    alone = shown(findings(files.look(trusts=root), NOW))

    assert ("ok", "warning") == (whole["certificate.chain"], alone["certificate.chain"])


def test_one_that_only_its_own_authority_vouches_for_is_told_of(files: Files) -> None:
    assert "warning" == shown(findings(files.look(trusts=trustme.CA()), NOW))["certificate.chain"]


def test_without_an_authority_of_ones_own_the_usual_ones_are_asked(files: Files) -> None:
    found = looking.look(TlsSettings(certificate=files.certificate, key=files.key))

    assert found is not None
    assert found.distrust is not None


@pytest.mark.parametrize(
    ("dates", "severity"),
    [
        ({"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=1)}, "critical"),
        ({"not_before": NOW + timedelta(days=1), "not_after": NOW + timedelta(days=90)}, "critical"),
        ({"not_before": NOW - timedelta(days=9), "not_after": NOW + timedelta(days=5)}, "warning"),
    ],
)
def test_the_time_it_holds_for_is_told(tmp_path: Path, dates: dict[str, datetime], severity: str) -> None:
    told = shown(findings(Files(tmp_path, **dates).look(), NOW))

    assert {"certificate.usable": "ok", "certificate.expiry": severity, "certificate.chain": "ok"} == told


def test_a_key_of_another_certificate_one_that_others_may_read_and_none_at_all_are_told(files: Files) -> None:
    def usable() -> tuple[str, str]:
        (told,) = findings(files.look(), NOW)
        return told.severity, told.what

    files.put_key(files.ca.issue_cert("gate.example"), 0o600)
    of_another = usable()
    files.put_key(files.issued, 0o644)
    open_ = usable()
    files.key.unlink()
    none = usable()

    assert {"critical"} == {of_another[0], open_[0], none[0]}
    assert "is not that of the first certificate" in of_another[1]
    assert "chmod 600" in open_[1]
    assert "cannot be read" in none[1]
