import socket

import pytest

from proxy.backends.place import Place, watch


@pytest.mark.parametrize(("seconds", "apart", "milliseconds"), [(300.0, 75, 300_000), (0.05, 1, 50), (10.0, 2, 10_000)])
def test_a_peer_that_is_gone_is_noticed_within_the_patience(seconds: float, apart: int, milliseconds: int) -> None:
    with socket.socket() as made:
        watch(made, seconds)

        assert 1 == made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert apart == made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert apart == made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        assert milliseconds == made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_one_that_has_been_closed_meanwhile_is_nobodys_trouble() -> None:
    made = socket.socket()
    made.close()
    watch(made, 1.0)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:11434", Place("127.0.0.1", 11434, False, "127.0.0.1:11434")),
        ("https://gpu", Place("gpu", 443, True, "gpu")),
        ("http://[::1]", Place("::1", 80, False, "[::1]")),
        ("unix:/run/ollama.sock", Place("/run/ollama.sock", 0, False, "localhost")),
    ],
)
def test_a_url_tells_where_a_backend_is(url: str, place: Place) -> None:
    assert place == Place.of(url)
