"""Whether something comes for the first time to any of the gates that share a Redis."""

import hashlib
import math
from functools import cache

from proxy.limits.redis.link import Link, Script
from proxy.limits.redis.scripts import source


class RedisFirst:
    """Remembers in Redis what came. Every key lies in one slot, has an end and shows nothing of what it stands for."""

    def __init__(self, link: Link, *, prefix: str = "llamagate") -> None:
        """The link stays its owner's to close."""
        self._link = link
        self._prefix = prefix

    async def first(self, identity: str, what: bytes, seconds: float) -> bool:
        """Whether that is new from this identity; remembered for so many seconds by Redis's own clock.

        Of several who ask at once, one is told so. Raises StoreFailed, and then it is not known.
        """
        milliseconds = max(1, math.ceil(seconds * 1000))
        told = await self._link.run(_script(), [self._key(identity, what)], [milliseconds])
        return told == b"first"

    def _key(self, identity: str, what: bytes) -> str:
        # The length in front, so that no two pairs read alike.
        name = b"%d %b %b" % (len(identity), identity.encode(), what)
        return f"{self._prefix}:came:{hashlib.blake2b(name, digest_size=16).hexdigest()}"


@cache
def _script() -> Script:
    return Script(source("first"))
