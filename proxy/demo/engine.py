"""llama.cpp's own HTTP server, in this process, as the wheel ``xllamacpp`` brings it: real weights, real tokens."""

import asyncio
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.errors import Misconfigured

ONLY_ERRORS = 1
"""The verbosity at which the engine keeps its start-up story to itself."""


AT_ONCE = 256
"""Tokens of a prompt between two looks at whether anyone still waits for the answer: two seconds on one core."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the engine may take."""

    ctx: int = 4096
    """Tokens that one conversation may hold."""
    parallel: int = 2
    """Answers at a time."""
    threads: int = 1


def require() -> None:
    """Say what is missing before anything is begun."""
    if importlib.util.find_spec("xllamacpp") is None:
        raise Misconfigured(
            "The real demo runs llama.cpp from the wheel xllamacpp, which is not installed: "
            "pip install 'llamagate[demo]'"
        )


class Engine:
    """One server for talking, and one for embeddings from the first time they are asked for.

    Both listen on loopback ports of their own, in threads of their own.
    """

    def __init__(self, weights: Path, name: str, sizes: Sizes) -> None:
        self._weights = weights
        self._name = name
        self._sizes = sizes
        self._servers: dict[bool, Any] = {}
        self._loading = asyncio.Lock()

    async def url(self, *, embeds: bool = False) -> str:
        """Where the server for this purpose listens, after loading it if need be."""
        async with self._loading:
            if embeds not in self._servers:
                self._servers[embeds] = await asyncio.to_thread(self._load, embeds)
            return str(self._servers[embeds].listening_address)

    def stop(self) -> None:
        self._servers.clear()  # There is no other way to stop one than to let go of it.

    def _load(self, embeds: bool) -> Any:
        # By name, and so untyped: the wheel has no stubs, and where it is absent there is nothing to import.
        llama: Any = importlib.import_module("xllamacpp")
        sizes = self._sizes
        told = llama.CommonParams()
        told.model.path = str(self._weights)
        told.model_alias = {self._name}
        told.hostnames = ["127.0.0.1"]
        told.port = 0
        told.ui = False
        told.verbosity = ONLY_ERRORS
        told.cpuparams.n_threads = told.cpuparams_batch.n_threads = sizes.threads
        if embeds:
            told.embedding = True
            told.pooling_type = llama.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
            told.n_parallel = 1
            # A text is pooled in one piece, so a whole one has to fit into a batch.
            told.n_ctx = told.n_batch = told.n_ubatch = min(sizes.ctx, 2048)
        else:
            told.n_parallel = sizes.parallel
            told.n_ctx = sizes.ctx * sizes.parallel  # The engine divides it among the answers.
            told.n_batch = told.n_ubatch = AT_ONCE
        return llama.Server(told)  # Returns once the model is loaded and the port listens.
