"""A file for each new key, for nobody's eyes but the owner's: how many keys are handed out at once."""

import os
import stat
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from proxy.admin.refusals import NotDone

SUFFIX = ".env"
_LONGEST = 200
"""Bytes of a name, well below the 255 that file systems take."""
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


class KeyFiles:
    """New files in one folder."""

    def __init__(self, folder: Path, descriptor: int, base_url: str) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._base_url = base_url
        self._made: list[str] = []

    def keep(self, user: str, secret: str) -> str:
        """Write the user's file, as shells and most tools read it; its path. Raises NotDone where it cannot be."""
        file = name_for(user)
        path = str(self._folder / file)
        text = f"OPENAI_BASE_URL={self._base_url}\nOPENAI_API_KEY={secret}\n"
        try:
            descriptor = os.open(file, _FLAGS, 0o600, dir_fd=self._descriptor)
            self._made.append(file)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(descriptor)  # Once on record, the secret is nowhere but here.
        except FileExistsError:
            raise NotDone(f"{path} is there already, and no key is ever written over another one.") from None
        except OSError as error:
            raise NotDone(f"{path} cannot be written: {error.strerror}.") from error
        return path

    def forget(self) -> None:
        """Remove what was written."""
        for file in self._made:
            with suppress(OSError):
                os.unlink(file, dir_fd=self._descriptor)


@contextmanager
def key_files(folder: Path, base_url: str) -> Iterator[KeyFiles]:
    """The folder, made where it is absent. Whatever was written is removed again where an error leaves this.

    Raises NotDone where it cannot be used, or others may look into it.
    """
    is_new, descriptor = _opened(folder)
    try:
        files = KeyFiles(folder, descriptor, base_url)
        try:
            yield files
        except BaseException:
            files.forget()
            if is_new:
                with suppress(OSError):
                    folder.rmdir()
            raise
    finally:
        os.close(descriptor)


def name_for(user: str) -> str:
    """A file's name that says whose it is, and is safe whatever that is: percent-encoded (RFC 3986 §2.1).

    Too long a name is cut, and ends with the beginning of its SHA-256, so that no two users share one.
    """
    quoted = urllib.parse.quote(user, safe="", errors="backslashreplace")
    if not quoted[:1].isalnum() and not quoted.startswith("%"):
        quoted = f"%{ord(user[0]):02X}{quoted[1:]}"  # Neither a hidden file nor what looks like an option.
    if len(quoted) > _LONGEST:
        digest = sha256(user.encode("utf-8", "backslashreplace")).hexdigest()[:32]
        quoted = f"{quoted[: _LONGEST - 33]}-{digest}"
    return quoted + SUFFIX


def _opened(folder: Path) -> tuple[bool, int]:
    """Whether it was made, and its descriptor."""
    try:
        try:
            folder.mkdir(mode=0o700)
            is_new = True
        except FileExistsError:
            is_new = False
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise NotDone(f"{folder} cannot be used for the keys: {error.strerror}.") from error
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & 0o077:
        os.close(descriptor)
        raise NotDone(f"Others may look into {folder}: chmod 700 it first, or name a folder that is not there yet.")
    return is_new, descriptor
