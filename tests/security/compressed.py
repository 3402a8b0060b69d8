"""Bodies in zstd, good and ill."""

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def packed(plain: bytes, *, window: int | None = None) -> bytes:
    """One frame; ``window`` is the log2 of what a decoder would have to keep."""
    if window is None:
        return zstd.compress(plain)
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: window,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    writer = zstd.ZstdCompressor(options=options)
    return writer.compress(plain) + writer.flush()


BOMB = zstd.compress(b" " * 2**30)
"""A gigabyte of blanks."""
