from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.bootstrap.serving import Serving
from proxy.config.load import Loaded
from proxy.errors import Misconfigured
from tests.bootstrap.test_reloading import loaded, with_issuer


def serving(again: Callable[[], Loaded]) -> Serving:
    return Serving(loaded("").settings, {}, (), lambda _: None, again)


def test_workers_to_come_are_given_no_configuration_that_they_could_not_open(tmp_path: Path) -> None:
    key = tmp_path / "corp.pem"
    key.write_text("no key")
    supervisor = serving(lambda: with_issuer(key))
    before = supervisor.settings
    with pytest.raises(Misconfigured, match="public key"):
        supervisor._renew()

    assert before is supervisor.settings


def test_a_configuration_in_a_folder_that_was_closed_meanwhile_is_refused_and_ends_nobody() -> None:
    def closed() -> Loaded:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(Misconfigured, match="Permission denied"):
        serving(closed)._renew()
