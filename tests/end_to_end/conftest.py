"""One engine and one gate for the whole session."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

from tests.end_to_end import node
from tests.end_to_end.books import compared
from tests.end_to_end.gate import STRANGER, Account, Gate, opened
from tests.end_to_end.processes import environment, python, running

ANSWERS = re.compile(r"answers on (http://\S+)")
FOREIGN = ("OPENAI_", "ANTHROPIC_", "OLLAMA_", "LANGCHAIN_", "LANGSMITH_")


@pytest.fixture(scope="session", autouse=True)
def _ends_tidily() -> Iterator[None]:
    """SIGTERM ends the session by way of its fixtures, so that nothing which they started goes on without them."""

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        pytest.exit("SIGTERM")

    before = signal.signal(signal.SIGTERM, leave)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_account() -> Iterator[None]:
    """The clients read keys and addresses from the environment; here they get only what a test gives them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the model answers. It has one slot, so that an answer which nobody hears would hold up the next."""
    folder = tmp_path_factory.mktemp("engine")
    command = python("proxy.demo.real", "--port", "0", "--parallel", "1", "--leash")
    with running(command, folder, ANSWERS, environment(folder)) as process:
        yield process.url


@pytest.fixture(scope="session")
def gate(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with opened(tmp_path_factory.mktemp("gate"), engine) as gate:
        yield gate
        compared(gate)


@pytest.fixture(scope="module")
def account(gate: Gate, request: pytest.FixtureRequest) -> Account:
    """A user for this file alone; at the end every call of theirs is compared with the ledger."""
    account = gate.issue(Path(request.node.path).stem.removeprefix("test_"))
    gate.accounts.append(account)
    return account


@pytest.fixture(scope="session")
def revoked(gate: Gate) -> Account:
    account = gate.issue("mallory")
    gate.revoke(account)
    return account


@pytest.fixture(params=["nobody", "revoked"])
def refused(request: pytest.FixtureRequest) -> Account:
    """Somebody without a key, and somebody whose key was revoked."""
    account: Account = STRANGER if request.param == "nobody" else request.getfixturevalue("revoked")
    return account


@pytest.fixture(scope="session")
def confined(gate: Gate) -> Account:
    """May use another model than the one that there is."""
    return gate.issue("bob", "--models", "llama3.2:*")


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The folder of what runs under Node.js."""
    cache = getattr(request.config, "cache", None)  # None where pytest was told to keep nothing.
    folder = cache.mkdir("end_to_end_js") if cache else tmp_path_factory.mktemp("js")
    with node.alone(folder):
        node.require_node()
        return node.installed(folder)
