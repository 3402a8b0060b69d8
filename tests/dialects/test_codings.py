import sys
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.codings import accepts, decoded
from proxy.errors import BodyTooLarge, EncodingUnknown, NotUnderstood
from proxy.policy.endpoints import ENDPOINTS
from proxy.vocabulary import Endpoint

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MOST = 1 << 20
HELLO = b'{"model":"gemma3"}'
PACKED = zstd.compress(HELLO)
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"


def with_window(log2: int) -> bytes:
    """A frame that doesn't tell its length, so that it wants its whole window."""
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log2})
    return packer.compress(HELLO) + packer.flush()


@pytest.mark.parametrize("coding", ["", "identity"])
def test_a_plain_body_stays_as_it_is(coding: str) -> None:
    assert HELLO == decoded(HELLO, coding, MOST)
    assert b"" == decoded(b"", coding, MOST)


def test_a_zstd_body_is_decoded() -> None:
    assert HELLO == decoded(PACKED, "zstd", MOST)
    assert b"" == decoded(zstd.compress(b""), "zstd", MOST)


@pytest.mark.parametrize(
    "coding",
    ["gzip", "x-gzip", "br", "deflate", "compress", "ZSTD", "Zstd", "zstd ", "Identity", "zstd, zstd", "zstd,identity"],
)
def test_any_other_coding_is_unknown_and_the_caller_hears_which_are_not(coding: str) -> None:
    with pytest.raises(EncodingUnknown) as caught:
        decoded(PACKED, coding, MOST)

    assert 415 == caught.value.status
    assert {"Accept-Encoding": "zstd, identity"} == caught.value.headers
    assert "zstd" in caught.value.message


@pytest.mark.parametrize(
    "body",
    [b"", HELLO, PACKED[:-1], PACKED[:5], PACKED + b"x", PACKED + PACKED, SKIPPABLE + PACKED],
    ids="empty plain cut head trailing two-frames skippable-first".split(),
)
def test_what_is_not_one_whole_frame_is_not_understood(body: bytes) -> None:
    with pytest.raises(NotUnderstood) as caught:
        decoded(body, "zstd", MOST)

    assert 400 == caught.value.status


def test_a_body_may_be_as_long_as_the_bound_and_not_a_byte_longer() -> None:
    for coding, body in (("zstd", zstd.compress(bytes(100))), ("identity", bytes(100))):
        assert bytes(100) == decoded(body, coding, 100)
        with pytest.raises(BodyTooLarge):
            decoded(body, coding, 99)


def test_a_bomb_is_too_large_and_is_never_unpacked() -> None:
    bomb = zstd.compress(bytes(256 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            decoded(bomb, "zstd", MOST)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * MOST


def test_a_window_of_8_mib_is_kept_and_a_wider_one_refused() -> None:
    assert HELLO == decoded(with_window(23), "zstd", MOST)
    with pytest.raises(NotUnderstood):
        decoded(with_window(24), "zstd", MOST)


@given(st.binary(max_size=2000), st.integers(0, 2000))
def test_whatever_was_packed_comes_out_or_is_too_large(plain: bytes, most: int) -> None:
    try:
        assert plain == decoded(zstd.compress(plain), "zstd", most)
    except BodyTooLarge:
        assert len(plain) > most


@given(st.one_of(st.binary(), st.binary().map(lambda tail: PACKED[:12] + tail)))
def test_no_bytes_at_all_break_it(body: bytes) -> None:
    with suppress(NotUnderstood):
        assert len(decoded(body, "zstd", MOST)) <= MOST


PACKED_MAY_COME = {
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
}


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_a_packed_body_is_accepted_only_where_ollama_would_unpack_it(endpoint: Endpoint) -> None:
    assert accepts(endpoint, "")
    assert accepts(endpoint, "identity")
    assert accepts(endpoint, "zstd") is (endpoint.path in PACKED_MAY_COME)
    for other in ("gzip", "br", "deflate", "ZSTD", "Identity", "zstd, zstd", "zstd ", "*"):
        assert not accepts(endpoint, other)
