"""What a caller may see of the answers that tell about models. Nothing in this module does I/O."""

import re
from collections.abc import Callable
from typing import Any

from proxy.dialects import Visible

Edit = Callable[[dict[str, Any]], dict[str, Any]]

# `FROM /root/.ollama/models/blobs/sha256-…` in a Modelfile, on any system.
ON_DISK = re.compile(r"(?m)^((?:# *)?(?:FROM|ADAPTER|DRAFT)[ \t]+)\"?(?:/|~|\\\\|[A-Za-z]:[\\/])[^\n]*$")


def only(visible: Visible, member: str, *names: str) -> Edit:
    """Keep the models of a list that the caller may know of, under every name that an item gives itself."""

    def edit(answer: dict[str, Any]) -> dict[str, Any]:
        items = answer.get(member)
        found = items if isinstance(items, list) else []  # Ollama says null where nothing is installed.
        return {**answer, member: [item for item in found if _seen(item, names, visible)]}

    return edit


def _seen(item: Any, names: tuple[str, ...], visible: Visible) -> bool:
    said = [item.get(name) for name in names if name in item] if isinstance(item, dict) else []
    return bool(said) and all(isinstance(name, str) and visible(name) for name in said)


def without_paths(answer: dict[str, Any]) -> dict[str, Any]:
    """A model's description that does not tell where files lie on the server."""
    modelfile = answer.get("modelfile")
    if not isinstance(modelfile, str):
        return answer
    return {**answer, "modelfile": ON_DISK.sub(r"\1(a file on the server)", modelfile)}
