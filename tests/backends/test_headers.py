import pytest

from proxy.backends.headers import forwarded
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Ask, Endpoint, Takes


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_a_backend_is_told_no_more_than_it_needs(endpoint: Endpoint) -> None:
    said = forwarded(Ask(endpoint), "http://gpu:11434")
    typed = set() if endpoint.takes is Takes.NOTHING else {"Content-Type"}

    assert {"Host", "Accept", "Accept-Encoding", "User-Agent"} | typed == said.keys()
    assert ("gpu:11434", "identity") == (said["Host"], said["Accept-Encoding"])


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://127.0.0.1:11434", "127.0.0.1:11434"), ("https://gpu", "gpu"), ("http://[::1]:80", "[::1]:80")],
)
def test_the_host_is_the_backends_own(url: str, host: str) -> None:
    assert host == forwarded(Ask(ENDPOINTS[0]), url)["Host"]
