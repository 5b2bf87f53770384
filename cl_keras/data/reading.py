"""Reads files, with retries when the system fails temporarily."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable
from typing import TypeVar

from cl_keras.data.image_files import BadImage

PAUSES = (0.05, 0.2, 1.0, 3.0)  # seconds before each further attempt
MAX_FILE_BYTES = 2**30  # of an image file
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

OF_THE_FILE = frozenset(
    getattr(errno, name)
    for name in "ENOENT ENOTDIR EISDIR EACCES EPERM ELOOP ENAMETOOLONG ENXIO ENODEV".split()
)
"""Errors that belong to one file, and would recur. All others belong to the system: too many open
files, no memory, a disk or a server that does not respond."""

Result = TypeVar("Result")


def read_image_file(path: str | os.PathLike) -> bytes:
    """The content of an image file.

    Args:
        path: path of the file.

    Raises:
        BadImage: the file is missing, unreadable, not a regular file, empty, or larger than 1 GiB.
        OSError: the system failed at each of five attempts within 4 seconds; the error names the
            file.
    """
    return attempt(lambda: _read(path), path)


def attempt(action: Callable[[], Result], path: str | os.PathLike) -> Result:
    """Performs an action on a file, and retries it if the system fails.

    Args:
        action: a function without arguments; it is called up to five times.
        path: path of the file, for the message.

    Raises:
        BadImage: the file is missing or unreadable.
        OSError: the system failed each time; the error names the file.
    """
    for pause in (*PAUSES, None):
        try:
            return action()
        except OSError as error:
            if error.errno is None:  # raised by a decoder, not by the system
                raise
            if error.errno in OF_THE_FILE:
                raise BadImage(f"cannot be opened: {error.strerror or error}") from error
            if pause is None:
                what = f"{error.strerror}, after {len(PAUSES) + 1} attempts"
                raise OSError(error.errno, what, os.fspath(path)) from error
        time.sleep(pause)
    raise AssertionError("unreachable")


def check_regular(status: os.stat_result) -> None:
    """Refuses anything but a regular file that is neither empty nor too large.

    Raises:
        BadImage: with the reason.
    """
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("not a regular file")
    if status.st_size == 0:
        raise BadImage("empty file")
    if status.st_size > MAX_FILE_BYTES:
        raise BadImage(f"{status.st_size} bytes, more than the maximum of {MAX_FILE_BYTES}")


def open_descriptor(path: str | os.PathLike) -> int:
    """Opens a file for reading, without blocking on a pipe."""
    return os.open(path, _FLAGS)


def _read(path):
    descriptor = open_descriptor(path)
    try:
        status = os.fstat(descriptor)
        check_regular(status)
        data = os.read(descriptor, status.st_size + 1)
        while len(data) < status.st_size and (more := os.read(descriptor, status.st_size)):
            data += more
        return data
    finally:
        os.close(descriptor)
