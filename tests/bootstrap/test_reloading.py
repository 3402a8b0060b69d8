import logging
import time
from pathlib import Path

import pytest

from proxy.auth.tokens import Tokens
from proxy.bootstrap import clocks
from proxy.bootstrap.reloading import Reloading
from proxy.config.load import Loaded, load
from proxy.errors import Misconfigured


def loaded(text: str) -> Loaded:
    return load(text=text, file="llamagate.toml", environment={}, flags={}, read_secret=str)


def with_issuer(key_file: Path) -> Loaded:
    """A plan, and an issuer whose key is in this file."""
    return loaded(f"""
        [plans.lab]
        models = ["llama*"]
        [issuers.corp]
        url = "https://issuer.example"
        audience = "llamagate"
        key_file = "{key_file}"
        """)


async def fetch(address: str) -> bytes:
    raise AssertionError(address)


def test_where_an_issuers_key_cannot_be_used_all_goes_on_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "corp.pem"
    key.write_text("no key")
    before = loaded("").settings
    plans, tokens = before.plan_table(), Tokens([], fetch, clock=time.monotonic, now=clocks.now)
    reload = Reloading(before, plans, tokens.replace, lambda: with_issuer(key))
    with caplog.at_level(logging.ERROR), pytest.raises(Misconfigured, match="public key"):
        reload()

    assert (["default"], {}) == (list(plans), tokens.keys)
    assert ["reload_refused"] == [one.message for one in caplog.records]
