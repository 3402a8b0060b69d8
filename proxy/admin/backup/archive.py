"""The one file of a backup: a compressed tar archive that any tar can unpack, and that is read here as if by an enemy.

Nothing is ever unpacked to a path, and of an archive's own words only the names and sizes of plain members are heeded.
"""

import gzip
import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from proxy.admin.refusals import NotDone

LONGEST_LINE = 4 * 2**20
CHUNK = 2**16
END = bytes(2 * tarfile.BLOCKSIZE)


class Member:
    """A member that is being written or read, and what it has come to so far."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()
        self.size = 0
        self.lines = 0

    @property
    def sha256(self) -> str:
        return self._sum.hexdigest()

    def passes(self, chunk: bytes) -> None:
        self._sum.update(chunk)
        self.size += len(chunk)
        self.lines += chunk.count(b"\n")


class NewMember(Member):
    def __init__(self, spool: BinaryIO, path: Path) -> None:
        super().__init__()
        self._spool = spool
        self._path = path

    def add(self, line: bytes) -> None:
        """Raises NotDone."""
        if len(line) > LONGEST_LINE:
            raise NotDone("A row is too long for a backup.")
        with _disk(self._path):
            self._spool.write(line)
        self.passes(line)


class Writer:
    """An archive that is being written."""

    def __init__(self, packed: gzip.GzipFile, path: Path) -> None:
        self._packed = packed
        self._path = path

    @contextmanager
    def member(self, name: str) -> Iterator[NewMember]:
        """One of which nobody knows the size before: it waits beside the archive. Raises NotDone."""
        with _disk(self._path), tempfile.TemporaryFile(dir=self._path.parent) as spool:
            made = NewMember(spool, self._path)
            yield made
            spool.seek(0)
            head = tarfile.TarInfo(name)
            head.size, head.mode = made.size, 0o600
            self._packed.write(head.tobuf(tarfile.GNU_FORMAT))
            while chunk := spool.read(CHUNK):
                self._packed.write(chunk)
            self._packed.write(bytes(-made.size % tarfile.BLOCKSIZE))


@contextmanager
def written(path: Path, *, force: bool) -> Iterator[Writer]:
    """A new archive, mode 0600, which stands at this path only if the block comes to its end.

    Raises NotDone, as where there is one already; ``force`` replaces it.
    """
    with _disk(path):
        _refuse_existing(path, force)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        mine = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
                    yield Writer(packed, path)
                    packed.write(END)
                file.flush()
                os.fsync(descriptor)
            _refuse_existing(path, force)
            mine.replace(path)
            _sync(path.parent)
        finally:
            mine.unlink(missing_ok=True)


class OldMember(Member):
    def __init__(self, packed: gzip.GzipFile, size: int) -> None:
        super().__init__()
        self._packed = packed
        self._left = size

    def all_lines(self) -> Iterator[bytes]:
        """Each with its end. Raises NotDone."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line + b"\n"
            if len(rest) >= LONGEST_LINE:
                raise damaged("it has a line that is too long")
        if rest:
            raise damaged("it has half a line")

    def whole(self, most: int) -> bytes:
        """Raises NotDone where it is more."""
        if self._left > most:
            raise damaged("a part of it is too large")
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """Raises NotDone."""
        while self._left:
            chunk = _read(self._packed, min(CHUNK, self._left))
            self._left -= len(chunk)
            self.passes(chunk)
            yield chunk


class Reader:
    """An archive that may be read as often as one likes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def members(self) -> Iterator[tuple[str, OldMember]]:
        """Every member, from the first on, by its name; what is not read of one is passed over. Raises NotDone."""
        self._file.seek(0)
        with gzip.GzipFile(mode="rb", fileobj=self._file) as packed:
            while (block := _read(packed, tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
                name, size = _head(block)
                member = OldMember(packed, size)
                yield name, member
                for _ in member.chunks():
                    pass
                _read(packed, -size % tarfile.BLOCKSIZE)
            is_end = _read(packed, len(END) - tarfile.BLOCKSIZE) == END[tarfile.BLOCKSIZE :]
            if _some(packed, 1) or not is_end:  # Which also compares what gzip has for a sum.
                raise damaged("there is something behind its end")


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Raises NotDone where it cannot be."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise NotDone(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield Reader(file)


def damaged(why: str) -> NotDone:
    return NotDone(f"This is no backup of a gate, or it was damaged: {why}. Nothing was changed.")


def _head(block: bytes) -> tuple[str, int]:
    """The name and the size of the plain member that begins with this block. Raises NotDone."""
    try:
        head = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError) as error:
        raise damaged("it is no tar archive") from error
    # Other kinds would have tarfile read on, as much as they like, and point elsewhere.
    if head.type != tarfile.REGTYPE or head.size < 0:
        raise damaged("it holds what is no plain file")
    return head.name, head.size


def _read(packed: gzip.GzipFile, size: int) -> bytes:
    """So many bytes. Raises NotDone."""
    got = b""
    while len(got) < size:
        chunk = _some(packed, size - len(got))
        if not chunk:
            raise damaged("it is cut off")
        got += chunk
    return got


def _some(packed: gzip.GzipFile, most: int) -> bytes:
    try:
        return packed.read(most)
    except EOFError as error:
        raise damaged("it is cut off") from error
    except (OSError, zlib.error) as error:
        raise damaged("it cannot be unpacked") from error


def _refuse_existing(path: Path, force: bool) -> None:
    if path.is_dir():
        raise NotDone(f"{path} is a folder.")
    if path.exists() and not path.is_file():
        # Not with --force either: as root, it would take /dev/stdout away from the whole machine.
        raise NotDone(f"{path} is there and is no file.")
    if not force and (path.exists() or path.is_symlink()):
        raise NotDone(f"{path} is there already. Say --force to replace it.")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Says what went wrong in the words of a refusal."""
    try:
        yield
    except OSError as error:
        raise NotDone(f"{path} cannot be written: {error.strerror}") from error
