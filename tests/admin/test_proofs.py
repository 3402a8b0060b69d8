from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest

from proxy.admin.control import Control, path_in
from proxy.admin.proofs import AuthStatus, IssuerStatus, auth_status, handlers, together
from proxy.admin.refusals import GateNotRunning, NotDone

ISSUERS = (IssuerStatus("sso", 2, 61.5, 3, 1, "no answer"), IssuerStatus("ci"))
STATUS = AuthStatus({"api_key": 7, "expired": 2}, 3.5, ISSUERS)


class Gate:
    """Some ``Doorkeepers``."""

    def status(self) -> AuthStatus:
        return STATUS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return path_in(tmp_path)


@pytest.fixture
async def there(path: Path) -> AsyncIterator[None]:
    async with Control(path, handlers(Gate())).listening():
        yield


@pytest.mark.usefixtures("there")
async def test_who_came_arrives_as_it_was_told(path: Path) -> None:
    assert STATUS == await auth_status(path)


async def test_where_no_gate_runs_that_is_said(path: Path) -> None:
    with pytest.raises(GateNotRunning):
        await auth_status(path)


@pytest.mark.parametrize(
    "told", [None, [], {}, {"counts": {}}, {"counts": {}, "away_seconds": None, "issuers": [{"what": 1}]}]
)
async def test_a_gate_of_another_version_is_told_apart(path: Path, told: object) -> None:
    async def answer(_: object) -> object:
        return told

    async with Control(path, {"auth.status": answer}).listening():
        with pytest.raises(NotDone, match="different versions"):
            await auth_status(path)


def test_what_several_processes_tell_is_told_as_one() -> None:
    other = AuthStatus({"api_key": 1, "issued": 4}, None, (IssuerStatus("sso", 1, 90.0, 1), IssuerStatus("ci", 5)))
    whole = together([asdict(STATUS), asdict(other)])

    assert (
        asdict(
            AuthStatus(
                {"api_key": 8, "expired": 2, "issued": 4},
                3.5,
                (IssuerStatus("sso", 1, 90.0, 4, 1, "no answer"), IssuerStatus("ci", 0)),
            )
        )
        == whole
    )
