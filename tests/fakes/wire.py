"""What the upstream must have received, byte for byte."""

from tests.fakes.upstream import RecordingUpstream


def as_sent(
    upstream: RecordingUpstream, asked: str, body: bytes | None = None, content_type: str = "application/json"
) -> bytes:
    """The one way in which the gate says a request: nothing of the client's own but what was checked."""
    lines = [
        f"{asked} HTTP/1.1",
        f"Host: {upstream.url.removeprefix('http://')}",
        "Accept: */*",
        "Accept-Encoding: identity",
        "User-Agent: llamagate",
    ]
    if body is not None:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def all_sent(upstream: RecordingUpstream) -> list[bytes]:
    """Everything that came, connection by connection."""
    return [bytes(connection.received) for connection in upstream.connections]
