"""How is it said?

A dialect reads a body into an ``Ask``, watches the answer with a ``Meter``, and says a refusal in the shape that its
clients understand. There is one file for each, and ``table`` has them all. Nothing in this package does I/O: bytes in,
facts out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from proxy.vocabulary import Ask, Endpoint, Usage

Visible = Callable[[str], bool]
"""Whether the caller may know of a model, by any spelling of its name."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a request says beside its method and route."""

    body: bytes = field(default=b"", repr=False)
    content_type: str = ""
    segment: str = ""
    """What stood in the path's one variable place."""
    query: str = field(default="", repr=False)
    """What stood behind the path's ``?``."""
    peer: str = ""
    """The client's address."""


class Meter(Protocol):
    """Watches one good answer on its way to the client, however its bytes are cut."""

    def feed(self, chunk: bytes) -> bytes:
        """Take note of the next bytes and give back what the client shall get now.

        A stream passes as it comes, but for what the gate takes out of it; an answer of one piece is held to its end.
        Raises PullTooLarge or BackendRefused where the answer itself is reason to leave.
        """

    def end(self) -> bytes:
        """The backend has said everything: what was held back, or nothing where that is no answer.

        Raises as ``feed`` does.
        """

    @property
    def usage(self) -> Usage:
        """What is known so far: exact once the counts have come, a floor before."""

    @property
    def counted(self) -> bool:
        """Whether the backend has said what it cost, be that believed or not: a look that costs less than ``usage``."""

    @property
    def complete(self) -> bool:
        """Whether the answer has had its last words. Framing does not tell: Ollama ends a failed stream politely."""

    @property
    def failed(self) -> bool:
        """Whether the backend has said, within the answer, that it failed."""

    @property
    def rewrites(self) -> bool:
        """Whether what is shown may differ from what came, so that the backend's Content-Length says nothing."""

    @property
    def content_type(self) -> str | None:
        """What the answer truly is, where the backend's own header cannot be believed; else None."""


class Dialect(Protocol):
    """One of the shapes in which Ollama is spoken to."""

    failure_is_an_end: bool
    """Whether a stream in which the backend tells that it failed has had its proper end with that, for its clients."""

    def read(self, endpoint: Endpoint, said: Said) -> Ask:
        """What a request asks for. Raises NotUnderstood."""

    def meter(self, ask: Ask, *, streamed: bool, visible: Visible) -> Meter:
        """A fresh meter; ``streamed`` says whether the backend answers piece by piece."""

    def refusal(
        self, status: int, code: str, message: str, call_id: str, counts: str | None = None, param: str | None = None
    ) -> bytes:
        """The JSON body of an error.

        ``counts`` says what there was too much of, ``requests`` or ``tokens``, and ``param`` what it is about.
        """

    def last_words(self, code: str, message: str, call_id: str) -> bytes:
        """How a stream that has begun tells that it failed; empty where the dialect has no room for it."""
