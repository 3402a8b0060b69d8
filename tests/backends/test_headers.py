import pytest

from proxy.backends.headers import beginning, forwarded, more, written
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Endpoint, Takes


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_a_backend_is_told_no_more_than_it_needs(endpoint: Endpoint) -> None:
    said = forwarded(endpoint.takes, "gpu:11434")
    typed = set() if endpoint.takes is Takes.NOTHING else {"Content-Type"}

    assert {"Host", "Accept", "Accept-Encoding", "User-Agent"} | typed == said.keys()
    assert ("gpu:11434", "identity") == (said["Host"], said["Accept-Encoding"])


def test_a_head_is_written_as_it_is_sent() -> None:
    assert b"POST /api/chat HTTP/1.1\r\nHost: gpu\r\nX-A: b\r\n" == written(
        "POST", "/api/chat", {"Host": "gpu", "X-A": "b"}
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [("/api/tags\r\nX: y", "gpu"), ("/api/tags HTTP/1.1", "gpu"), ("/", "gpu\r\nX: y"), ("/", "gpu\n"), ("/\r", "gpu")],
)
def test_what_would_be_two_lines_is_never_sent(path: str, value: str) -> None:
    with pytest.raises(ValueError, match="line end or a blank"):
        written("GET", path, {"Host": value})
    with pytest.raises(ValueError, match="line end or a blank"):
        beginning("GET", path, Takes.NOTHING, value)


def test_more_fields_are_lines_to_go_on_with() -> None:
    assert b"traceparent: 00-1\r\nX-A: b\r\n" == more({"traceparent": "00-1", "X-A": "b"})
    assert b"" == more({})
    with pytest.raises(ValueError, match="line end"):
        more({"X-A": "b\r\nX-B: c"})
