"""A gate in a process of its own, its command line, and the books that its clients keep of what they were told."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.end_to_end.commands import forge
from tests.end_to_end.processes import Running, environment, running

ANSWERS = re.compile(r"answers on (http://\S+)")
LISTENS = re.compile(r"listens on +(http://\S+)")
COMMAND_SECONDS = 60.0
EVERY_CALL = "100000"

Row = dict[str, Any]
Told = tuple[str, int, int, str]
"""An endpoint, the tokens of the prompt and of the answer, and how it ended."""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with a key, and what their client was told that their calls cost, in order."""

    user: str
    key: str
    key_id: str
    seen: list[Told] = field(default_factory=list)

    def saw(self, endpoint: str, prompt_tokens: int | None = 0, completion_tokens: int | None = 0) -> None:
        # Ollama leaves out what is zero.
        self.seen.append((endpoint, prompt_tokens or 0, completion_tokens or 0, "served"))

    def saw_refusal(self, endpoint: str) -> None:
        """Not ours but the model's own, which costs nothing."""
        self.seen.append((endpoint, 0, 0, "refused"))

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}


STRANGER = Account("stranger", "", "")
"""Has no key."""


@dataclass(frozen=True, slots=True)
class Gate:
    running: Running
    folder: Path
    accounts: list[Account] = field(default_factory=list)
    """Whose books are complete."""

    @property
    def url(self) -> str:
        return self.running.url

    def issue(self, user: str, *options: str) -> Account:
        issued = self.asked("keys", "create", "--user", user, *options, "--json")[0]
        return Account(user, issued["key"], issued["id"])

    def revoke(self, account: Account) -> None:
        self.asked("keys", "revoke", account.key_id, "--json")

    def calls(self, account: Account) -> list[Row]:
        return self.asked("calls", "--last", EVERY_CALL, "--user", account.user, "--json")

    def usage(self) -> dict[str, Row]:
        return {row["user"]: row for row in self.asked("usage", "--by", "user", "--json")[0]}

    def asked(self, *words: str) -> list[Any]:
        """What a command prints, one JSON value per line."""
        return [json.loads(line) for line in command(self.folder, *words).splitlines()]


def command(folder: Path, *words: str) -> str:
    """The standard output of ``llamagate`` with these words, which must end well."""
    done = ended(folder, *words)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def ended(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``llamagate`` with these words, however it ended."""
    return forge().run(words, folder, environment(folder), COMMAND_SECONDS)


@contextmanager
def opened(folder: Path, upstream: str) -> Iterator[Gate]:
    serve = ["serve", "--listen", "127.0.0.1:0", "--upstream", upstream]
    with running(serve, folder, LISTENS, environment(folder), forge().gate) as process:
        yield Gate(process, folder)


@contextmanager
def scripted(folder: Path, *, pause: float = 0.001) -> Iterator[str]:
    """Where a script stands in for Ollama, with so many seconds before each word; a token is a word."""
    with running([str(pause)], folder, ANSWERS, environment(folder), forge().script) as process:
        yield process.url


def zone_at_noon() -> str:
    """A time zone in which no day ends while a test runs."""
    ahead = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}"  # The signs of these names are turned around.
