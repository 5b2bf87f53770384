"""Opens files safely, and writes them atomically."""

import contextlib
import hashlib
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import BinaryIO

UNFINISHED = ".writing-*"
"""Pattern of the temporary files, which stay behind if the process is killed."""


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_plain(path: str | os.PathLike, *, follow_links: bool = True) -> BinaryIO:
    """Opens a file for reading, in binary; a pipe, a device or a folder is refused at once.

    Args:
        path: path of the file.
        follow_links: whether the last part of the path may be a symbolic link; default: True.

    Raises:
        OSError: if it cannot be opened, or is not a plain file.
    """
    flags = os.O_RDONLY
    for name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK", *([] if follow_links else ["O_NOFOLLOW"])):
        flags |= getattr(os, name, 0)  # not all systems have all of them
    stream = open(path, "rb", opener=lambda name, _: os.open(name, flags))
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(f"{path} is not a plain file, but a pipe, a device or a folder.")
    return stream


def write_atomically(path: str | os.PathLike, data: bytes | str) -> None:
    """Writes a file completely, or leaves the old one unchanged.

    Args:
        path: path of the file, which is replaced if it exists; its folder must exist.
        data: bytes, or a str that is written as UTF-8.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as temporary:
        content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path next to `path`; the file that the block writes there replaces `path`.

    The content reaches the disk before the name does, so a power failure leaves either the old file
    or the new one. If the block fails, the temporary file is removed and `path` stays as it was.
    The temporary name keeps all suffixes of `path`, since some writers depend on them.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(PermissionError):  # Windows cannot open folders
        _to_disk(path.parent, os.O_RDONLY)


def _to_disk(path, flags=os.O_RDWR):
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
