"""Make the gate's end of TLS, where it was told to speak it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.bootstrap import clocks
from proxy.config.tls import TlsSettings
from proxy.web.tls import Files, Tls


@asynccontextmanager
async def encrypting(told: TlsSettings) -> AsyncIterator[Tls | None]:
    """It looks at its files until it is left; None where there is no certificate. Raises Misconfigured."""
    if told.certificate is None or told.key is None:
        yield None
        return
    tls = Tls(Files(told.certificate, told.key, told.client_authorities, told.client_required), now=clocks.now)
    looking = asyncio.create_task(tls.keep(asyncio.sleep))
    try:
        yield tls
    finally:
        looking.cancel()
        await asyncio.wait([looking])
