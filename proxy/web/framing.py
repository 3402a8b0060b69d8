"""Where one request ends and the next begins: only what has one meaning goes on to the parser behind this.

A connection's raw bytes are looked at before anything else reads them. What two readers could read two ways is refused
(RFC 9112 §11.2), also where the RFC would let a server be lenient. What goes on is what came, up to the first byte that
is refused; only the wish to speak HTTP/2 is taken out, for the parser behind this would wait for it to come true.
Nothing in this module does I/O, and no reason or message holds a byte of the client's.
"""

import enum
import ipaddress
import re
from collections.abc import Callable
from typing import Final

from proxy.errors import BodyTooLarge, NotUnderstood

LONGEST_LINE: Final = 8190
"""Bytes, without the end of the line; as many as the parser behind this takes."""
MOST_FIELDS: Final = 64
LARGEST_HEAD: Final = 32 * 1024
"""Bytes, with the empty line at its end."""
FREE_CHUNKING: Final = 32 * 1024
"""Bytes of chunk sizes and line ends that a body may have beyond as many as it has data. A body in chunks of one byte
costs the parser a hundred times what the same bytes cost in one."""

METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE"))
"""RFC 9110 §9.3 but for CONNECT, which asks for a tunnel, and RFC 5789."""

_LETTERS: Final = bytes(range(0x41, 0x5B))
_DIGITS: Final = b"0123456789"
_SMALL: Final = bytes(range(0x61, 0x7B))
_TARGET: Final = bytes(set(range(0x21, 0x7F)) - set(b'#\\"<>{}|^`'))
_TOKEN: Final = _LETTERS + _SMALL + _DIGITS + b"!#$%&'*+-.^`|~"
"""RFC 9110 §5.6.2 without the underscore: some who pass requests on take it for a hyphen."""
_IN_HEAD: Final = b"\t\r\n" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
"""RFC 9110 §5.5: visible signs, blanks, tabs and obs-text, and the ends of lines."""
_BLANKS: Final = b" \t"

_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,15}")
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_LONGEST_SIZE: Final = 10
"""Bytes of the line of a chunk's size, with its end."""
_HOST: Final = re.compile(rb"(?:\[([0-9A-Fa-f:.]{2,45})\]|(?:[0-9A-Za-z_~-]|\.(?!\.)){1,253})(?::([0-9]{1,5}))?")

_ONCE: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"expect")
)
_LOOKED_AT: Final = _ONCE | {b"connection", b"upgrade"}


class Reason(enum.StrEnum):
    """Why bytes are refused, for log and metrics."""

    REQUEST_LINE = "request_line"
    METHOD = "method"
    TARGET = "target"
    TARGET_TOO_LONG = "target_too_long"
    VERSION = "version"
    LINE_END = "line_end"
    FIELD = "field"
    FIELDS_TOO_LARGE = "fields_too_large"
    FIELD_TWICE = "field_twice"
    HOST = "host"
    LENGTH = "content_length"
    CODING = "transfer_encoding"
    TWO_LENGTHS = "two_lengths"
    NO_LENGTH = "no_length"
    BODY = "body_unasked"
    EXPECT = "expect"
    UPGRADE = "upgrade"
    CHUNK = "chunk"
    CHUNKS_TOO_SMALL = "chunks_too_small"
    TRAILER = "trailer"
    BODY_TOO_LARGE = "body_too_large"


_SAID: Final[dict[Reason, tuple[int, str]]] = {
    Reason.REQUEST_LINE: (400, "That is not well-formed HTTP: the request line is wrong."),
    Reason.METHOD: (501, "This method is not known here."),
    Reason.TARGET: (400, "The request target must be a path that begins with / and has only signs that a path may."),
    Reason.TARGET_TOO_LONG: (414, "The request line is too long."),
    Reason.VERSION: (505, "HTTP/1.1 is spoken here."),
    Reason.LINE_END: (400, "That is not well-formed HTTP: a line does not end with CR and LF."),
    Reason.FIELD: (400, "That is not well-formed HTTP: a header field is wrong."),
    Reason.FIELDS_TOO_LARGE: (431, "The header fields are too many or too large."),
    Reason.FIELD_TWICE: (400, "A header field stands twice that may stand once."),
    Reason.HOST: (400, "One Host field is needed, with a name or an address and perhaps a port."),
    Reason.LENGTH: (400, "The Content-Length is not a number of bytes."),
    Reason.CODING: (400, "No transfer coding but 'chunked' is known here, and that in HTTP/1.1 alone."),
    Reason.TWO_LENGTHS: (400, "A body has a Content-Length or is sent in chunks, and never both."),
    Reason.NO_LENGTH: (411, "A POST needs a Content-Length, which is 0 where there is no body, or to be in chunks."),
    Reason.BODY: (400, "No such body is taken with this method."),
    Reason.EXPECT: (417, "Nothing can be expected but '100-continue'."),
    Reason.UPGRADE: (400, "No other protocol is spoken on this connection."),
    Reason.CHUNK: (400, "The request body is not well-formed HTTP: a chunk is wrong."),
    Reason.CHUNKS_TOO_SMALL: (400, "The request body is sent in too many small chunks."),
    Reason.TRAILER: (400, "No trailer fields are taken."),
    Reason.BODY_TOO_LARGE: (413, "The request body is larger than this gate accepts."),
}


class NotHttp(NotUnderstood):
    """A connection's bytes have no meaning from here on; whatever still comes on it is not looked at."""

    def __init__(self, reason: Reason) -> None:
        status, message = _SAID[reason]
        super().__init__(message)
        self.status = status
        if reason is Reason.BODY_TOO_LARGE:
            self.code = BodyTooLarge.code
        self.why = reason
        self.passed = b""
        """What came before and may go on."""
        self.is_in_body = False
        """Whether the head of its request went on already."""


class _At(enum.Enum):
    """What comes next."""

    HEAD = enum.auto()
    BODY = enum.auto()
    SIZE = enum.auto()
    DATA = enum.auto()
    DATA_END = enum.auto()
    LAST = enum.auto()
    END = enum.auto()


# By names of their own: to look them up in the class at every step would cost as much as the step.
_HEAD: Final = _At.HEAD
_BODY: Final = _At.BODY
_SIZE_LINE: Final = _At.SIZE
_DATA: Final = _At.DATA
_DATA_END: Final = _At.DATA_END
_LAST: Final = _At.LAST
_END: Final = _At.END

Bound = Callable[[bytes], int]
"""How many bytes a body may have, by the request's target."""


class Framing:
    """One connection, which ends after ``most_requests``. However the bytes are cut, the same go on."""

    __slots__ = (
        "_at",
        "_bound",
        "_chunking",
        "_edited",
        "_good",
        "_held",
        "_is_last",
        "_left",
        "_looked",
        "_most_requests",
        "_room",
        "heads",
    )

    def __init__(self, bound: Bound, most_requests: int) -> None:
        self._bound = bound
        self._most_requests = most_requests
        self.heads = 0
        """Requests whose head went on."""
        self._at = _HEAD
        self._held = b""
        """The beginning of what can only be judged as a whole."""
        self._looked = 0
        """Bytes of a head that were searched for its end already."""
        self._left = 0
        """Bytes of the body, or of the chunk, that are still to come."""
        self._room = 0
        """Bytes of data that the body may still have. One more than it may goes on, so that its reader sees it too."""
        self._chunking = 0
        """Bytes of the body that are none of its data, less those that are."""
        self._is_last = False
        self._good = 0
        """Where a refused chunk begins in what was fed last."""
        self._edited: bytes | None = None
        """What goes on in place of the head that was just read, where that is not the same."""

    @property
    def is_amid_head(self) -> bool:
        """Whether a request has begun whose head is not whole yet."""
        return self._at is _HEAD and bool(self._held)

    def feed(self, data: bytes) -> bytes:
        """What may go on to the parser; what comes after the last request goes nowhere. Raises NotHttp, once."""
        if self._held:
            data = self._held + data
            self._held = b""
        at, end = 0, len(data)
        try:
            while at < end:
                before, now = at, self._at
                if now is _HEAD:
                    at = self._read_head(data, at)
                    if self._edited is not None:
                        data = data[:before] + self._edited + data[at:]
                        at, end = before + len(self._edited), len(data)
                        self._edited = None
                elif now is _BODY or now is _DATA:
                    at = self._read_data(at, end)
                elif now is _SIZE_LINE:
                    at = self._read_chunks(data, at, end)
                elif now is _END:
                    return data[:at]
                else:
                    at = self._read_line_end(data, at)
                if at == before:
                    self._held = data[at:]
                    break
        except NotHttp as refusal:
            refusal.passed = data[: max(at, self._good)]
            refusal.is_in_body = self._at is not _HEAD
            self._at = _END
            raise
        return data if at == end else data[:at]

    def _read_data(self, at: int, end: int) -> int:
        if not self._room:
            raise NotHttp(Reason.BODY_TOO_LARGE)
        taken = min(self._left, self._room, end - at)
        self._left -= taken
        self._room -= taken
        if self._at is _DATA:
            self._chunking -= taken
        if not self._left:
            if self._at is _BODY:
                self._request_ended()
            else:
                self._at = _DATA_END
        return at + taken

    def _read_head(self, data: bytes, at: int) -> int:
        if data[at] not in _LETTERS:
            raise NotHttp(Reason.REQUEST_LINE)
        new, most = at + self._looked, at + LARGEST_HEAD
        found = data.find(b"\r\n\r\n", max(at, new - 3), most)
        end = min(most, len(data)) if found < 0 else found + 4
        if data.count(b"\n", new, end) != data.count(b"\r\n", max(at, new - 1), end):
            raise NotHttp(Reason.LINE_END)
        if found < 0:
            if end == most:
                raise NotHttp(Reason.FIELDS_TOO_LARGE)
            self._looked = end - at
            return at
        self._looked = 0
        self._begin(data[at:found])
        self.heads += 1
        if self.heads >= self._most_requests:
            self._is_last = True
        if self._at is _HEAD:
            self._request_ended()
        return end

    def _read_chunks(self, data: bytes, at: int, end: int) -> int:
        """As many as are there as a whole, and the size of the next."""
        while True:
            stop = data.find(b"\r\n", at, at + _LONGEST_SIZE)
            if stop < 0:
                if end - at >= _LONGEST_SIZE:
                    raise self._refused(Reason.CHUNK, at)
                return at
            if not _SIZE.fullmatch(data, at, stop):
                raise self._refused(Reason.CHUNK, at)
            size = int(data[at:stop], 16)
            self._chunking += stop + 4 - at  # With the line end that follows the data.
            if self._chunking > FREE_CHUNKING:
                raise self._refused(Reason.CHUNKS_TOO_SMALL, at)
            at = stop + 2
            after = at + size
            if not size or size > self._room or data[after : after + 2] != b"\r\n":
                self._left = size
                self._at = _DATA if size else _LAST
                return at
            self._room -= size
            self._chunking -= size
            at = after + 2

    def _refused(self, reason: Reason, good: int) -> NotHttp:
        """What is refused after some chunks that are good, to the place where the next begins."""
        self._good = good
        return NotHttp(reason)

    def _read_line_end(self, data: bytes, at: int) -> int:
        if len(data) - at < 2 and data[at] == 0x0D:
            return at
        if not data.startswith(b"\r\n", at):
            raise NotHttp(Reason.CHUNK if self._at is _DATA_END else Reason.TRAILER)
        if self._at is _DATA_END:
            self._at = _SIZE_LINE
        else:
            self._request_ended()
        return at + 2

    def _request_ended(self) -> None:
        self._at = _END if self._is_last else _HEAD

    def _begin(self, head: bytes) -> None:
        """Look at a head without the empty line at its end, and know from it what comes next."""
        line, *lines = head.split(b"\r\n")
        if head.count(b"\r") != len(lines):
            raise NotHttp(Reason.LINE_END)
        method, target, is_1_1 = _request_line(line)
        fields = _fields(head, lines)
        if b"host" in fields:
            _check_host(fields[b"host"][0])
        elif is_1_1:
            raise NotHttp(Reason.HOST)
        options: set[bytes] = set()
        if b"connection" in fields:
            options = {one.strip(_BLANKS).lower() for line in fields[b"connection"] for one in line.split(b",")}
        if b"upgrade" in fields or b"upgrade" in options:
            if fields.get(b"upgrade") != [b"h2c"]:
                raise NotHttp(Reason.UPGRADE)
            self._edited = _without_h2c(line, lines, options)
        if b"expect" in fields and fields[b"expect"][0].lower() != b"100-continue":
            raise NotHttp(Reason.EXPECT)
        self._is_last = b"close" in options or not (is_1_1 or b"keep-alive" in options)  # RFC 9112 §9.3
        self._expect_body(method, target, is_1_1, fields)

    def _expect_body(self, method: bytes, target: bytes, is_1_1: bool, fields: dict[bytes, list[bytes]]) -> None:
        """RFC 9112 §6.3."""
        if b"transfer-encoding" in fields:
            if b"content-length" in fields:
                raise NotHttp(Reason.TWO_LENGTHS)
            if not is_1_1 or fields[b"transfer-encoding"][0].lower() != b"chunked":
                raise NotHttp(Reason.CODING)
            if method in (b"GET", b"HEAD", b"DELETE", b"TRACE"):
                raise NotHttp(Reason.BODY)
            self._at = _SIZE_LINE
        elif b"content-length" in fields:
            length = fields[b"content-length"][0]
            if not _LENGTH.fullmatch(length):
                raise NotHttp(Reason.LENGTH)
            self._left = int(length)
            if self._left:
                if method == b"TRACE":
                    raise NotHttp(Reason.BODY)
                self._at = _BODY
        elif method == b"POST":
            raise NotHttp(Reason.NO_LENGTH)
        if self._at is not _HEAD:
            self._room = self._bound(target) + 1
            self._chunking = 0


def _without_h2c(line: bytes, lines: list[bytes], options: set[bytes]) -> bytes:
    """The head without the wish for HTTP/2, which a server may ignore (RFC 9110 §7.8). Java's client has it unasked."""
    gone = (b"upgrade", b"http2-settings", b"connection")
    kept = [one for one in lines if one.partition(b":")[0].lower() not in gone]
    if left := b", ".join(sorted(options & {b"close", b"keep-alive"})):
        kept.append(b"Connection: " + left)
    return b"\r\n".join((line, *kept, b"", b""))


def _request_line(line: bytes) -> tuple[bytes, bytes, bool]:
    """The method, the target, and whether it is HTTP/1.1, which else is HTTP/1.0."""
    if len(line) > LONGEST_LINE:
        raise NotHttp(Reason.TARGET_TOO_LONG)
    parts = line.split(b" ")
    if len(parts) != 3:
        raise NotHttp(Reason.REQUEST_LINE)
    method, target, version = parts
    if not 1 <= len(method) <= 16 or method.translate(None, _LETTERS):
        raise NotHttp(Reason.REQUEST_LINE)
    if method == b"CONNECT":
        raise NotHttp(Reason.METHOD)
    if target[:1] != b"/" or target.translate(None, _TARGET):
        raise NotHttp(Reason.TARGET)
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise NotHttp(Reason.VERSION)
    if method not in METHODS:
        raise NotHttp(Reason.METHOD)
    return method, target, version == b"HTTP/1.1"


def _fields(head: bytes, lines: list[bytes]) -> dict[bytes, list[bytes]]:
    """What the fields say that matter here, by their names in small letters, the blanks around it left out."""
    if len(lines) > MOST_FIELDS or (len(head) > LONGEST_LINE and len(max(lines, key=len, default=b"")) > LONGEST_LINE):
        raise NotHttp(Reason.FIELDS_TOO_LARGE)
    if head.translate(None, _IN_HEAD):
        raise NotHttp(Reason.FIELD)
    said: dict[bytes, list[bytes]] = {}
    names = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not name or not colon:
            raise NotHttp(Reason.FIELD)
        names.append(name)
        if (small := name.lower()) in _LOOKED_AT:
            if small not in said:
                said[small] = [value.strip(_BLANKS)]
            elif small in _ONCE:
                raise NotHttp(Reason.FIELD_TWICE)
            else:
                said[small].append(value.strip(_BLANKS))
    if b"".join(names).translate(None, _TOKEN):
        raise NotHttp(Reason.FIELD)
    return said


def _check_host(text: bytes) -> None:
    """RFC 9110 §7.2. Signs that a registered name might have and no host does are left out."""
    host = _HOST.fullmatch(text)
    if host is None or int(host[2] or 0) > 65_535:
        raise NotHttp(Reason.HOST)
    if host[1] is not None:
        try:
            ipaddress.IPv6Address(host[1].decode())
        except ValueError:
            raise NotHttp(Reason.HOST) from None
