"""Opens untrusted zip archives: bounds their directory, and reports damage as one kind of error."""

import contextlib
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

MAX_DIRECTORY_BYTES = 4 * 2**20
MAX_MEMBERS = 20_000
_BROKEN = (
    *(OSError, EOFError, struct.error, IndexError, RuntimeError, zlib.error),
    *(zipfile.BadZipFile, NotImplementedError),
)


@contextlib.contextmanager
def opened(stream: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """The archive in an open file, if its directory is small enough to be parsed."""
    bounded: Any = _Bounded(stream)
    with damage():
        archive = zipfile.ZipFile(bounded)
    bounded.most = None
    if len(archive.infolist()) > MAX_MEMBERS:
        raise ValueError(f"The archive has more than {MAX_MEMBERS} members.")
    with archive:
        yield archive


@contextlib.contextmanager
def damage() -> Iterator[None]:
    """Turns the errors of `zipfile` into a ValueError."""
    try:
        yield
    except _BROKEN as error:
        reason = error or "it ends too early"
        raise ValueError(f"The zip archive is damaged: {reason}.") from error


class _Bounded:
    """A stream that refuses to read the directory if it is too large."""

    def __init__(self, stream):
        self._stream = stream
        self.most = MAX_DIRECTORY_BYTES
        for name in ("seek", "tell", "close", "seekable"):
            setattr(self, name, getattr(stream, name))

    def read(self, size=-1):
        if self.most is not None and size > self.most:
            raise ValueError(f"The archive's directory has {size} bytes, more than {self.most}.")
        return self._stream.read(size)
