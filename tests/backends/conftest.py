"""The gate runs on uvloop, whose connections differ from asyncio's in small things: these tests meet both."""

from tests.fakes.loops import both as pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
