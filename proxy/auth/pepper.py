"""The pepper: 32 random bytes beside the database and not in it, without which its digests are worth nothing."""

import os
import stat
import tempfile
from pathlib import Path

from proxy.auth.api_keys import RandomBytes
from proxy.errors import Misconfigured

NAME = "pepper"
LENGTH = 32


def kept_in(folder: Path, random_bytes: RandomBytes) -> bytes:
    """The pepper in this folder, made at the first time, mode 0600. Raises Misconfigured.

    Two processes may be first together: whoever links its file first has made it, and both read the same.
    """
    file = folder / NAME
    try:
        if not file.exists():
            _make(file, random_bytes)
        mode = stat.S_IMODE(file.stat().st_mode)
        if mode & 0o077:
            raise Misconfigured(f"{file} may be read by others (mode {mode:04o}): chmod 600 {file}")
        pepper = bytes.fromhex(file.read_text("ascii").strip())
    except OSError as error:
        raise Misconfigured(f"{file} cannot be read or made: {error.strerror}") from error
    except ValueError as error:
        raise Misconfigured(f"{file} does not hold a pepper; with another one, no issued key works any more") from error
    if len(pepper) != LENGTH:
        raise Misconfigured(f"{file} does not hold a pepper; with another one, no issued key works any more")
    return pepper


def _make(file: Path, random_bytes: RandomBytes) -> None:
    # Mode 0600, and a name of its own: containers that share the folder may even share a process id.
    descriptor, name = tempfile.mkstemp(prefix=f".{NAME}.", dir=file.parent)
    mine = Path(name)
    try:
        with os.fdopen(descriptor, "w") as opened:
            opened.write(random_bytes(LENGTH).hex() + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        os.link(mine, file)
    except FileExistsError:
        pass
    finally:
        mine.unlink()
