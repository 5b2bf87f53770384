"""Files that appear whole or not at all."""

import contextlib
import hashlib
import os
import pathlib
import stat

UNFINISHED = ".writing-*"
"""Pattern of the temporary files, which stay behind where the process is killed."""


def sha256(path):
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_plain(path, *, follow_links=True):
    """Opens a file for reading, in binary; a pipe, a device or a folder is refused at once.

    Args:
        path: of the file.
        follow_links: whether the last part of the path may be a symbolic link.

    Raises:
        OSError: if it cannot be opened, or is not a plain file.
    """
    flags = os.O_RDONLY
    for name in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK", *([] if follow_links else ["O_NOFOLLOW"])):
        flags |= getattr(os, name, 0)  # systems differ in what they have
    stream = open(path, "rb", opener=lambda name, _: os.open(name, flags))
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(f"{path} is not a plain file; a pipe, a device or a folder is not read.")
    return stream


def write_atomically(path, data):
    """Writes a file whole, or leaves what was there.

    Args:
        path: of the file; its folder must exist. A file that is there is replaced.
        data: bytes, or a str that is written as UTF-8.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as temporary:
        content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path):
    """Hands out a temporary path beside `path`; what the block wrote there then takes its place.

    The content is on the disk before the name is, so a power cut leaves the old file or the new.
    If the block fails, the temporary file is removed and `path` is as it was. The temporary name
    keeps all endings of `path`, which some writers look at.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        _to_disk(path.parent, os.O_RDONLY)


def _to_disk(path, flags=os.O_RDWR):
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
