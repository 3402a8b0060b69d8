"""Others who stand where the gate does, so that its figures mean something: each as cheap as it can be set up.

``nginx`` is the system's, where it has one. ``caddy`` comes with the developer's environment. ``litellm`` and
``portkey`` do more of what the gate does and are large, so they are no part of any lock of ours: ``python -m
bench.peers`` installs them from the locks in this folder, each file checked by its hash, into ``.venv`` here or where
``LLAMAGATE_PEERS`` says. Whatever of them is not there, the bench says so and goes on.

To take newer ones: change ``litellm.in`` or ``portkey/package.json``, then in this folder
``uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url -o litellm.lock
litellm.in``, and in ``portkey`` ``npm install --package-lock-only``.

All keep their connections to the upstream. What each checks of its caller is told with its figures.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NGINX, CADDY, AIOHTTP, LITELLM, PORTKEY = "nginx", "Caddy", "aiohttp", "LiteLLM", "Portkey"


class NotInstalled(Exception):
    """And how it would be."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer is installed, and with what command."""

    folder: Path
    complete: Path
    """There once the installation went through."""


def place(name: str) -> Place:
    """Of one that ``python -m bench.peers`` installs."""
    folder = Path(os.environ.get("LLAMAGATE_PEERS") or HERE / ".venv") / name.lower()
    return Place(folder, folder / "complete")


def found(name: str, look: Callable[[Path], Path]) -> Path:
    """What it is started by, below where it is installed. Raises NotInstalled."""
    there = place(name)
    program = look(there.folder)
    if not program.exists():
        raise NotInstalled(f"{name} is not installed: python -m bench.peers")
    return program
