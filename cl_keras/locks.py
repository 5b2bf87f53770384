"""Locks between processes, on every platform."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # all others
    msvcrt = None  # type: ignore[assignment]

PAUSE = 0.1
"""Seconds between two attempts to get a lock."""


class Locked(OSError):
    """Another process holds the lock."""


# A library such as filelock would do, if it did not empty the file that it locks, whatever file
# that is.
@contextlib.contextmanager
def locked(
    path: str | os.PathLike, *, wait: bool = True, on_wait: Callable[[], object] | None = None
) -> Iterator[None]:
    """Holds a lock, which a process that is killed gives back by itself.

    Args:
        path: of a file that stands for the lock. It is made if it is not there, and nothing is
            ever written to it. Only a regular file is accepted, no link to one.
        wait: whether to wait for another process that holds the lock; default: True.
        on_wait: called once before waiting, to say so.

    Raises:
        Locked: if another process holds the lock, and `wait` is False.
        OSError: if the file cannot be opened, or is not a regular file.
    """
    descriptor = _open(path)
    try:
        if not _take(descriptor):
            if not wait:
                raise Locked(f"Another process holds the lock {path}.")
            if on_wait is not None:
                on_wait()
            while not _take(descriptor):
                time.sleep(PAUSE)
        yield
    finally:
        os.close(descriptor)  # gives the lock back


def _open(path):
    # A pipe would block without O_NONBLOCK; Windows has neither pipes of this kind nor these flags.
    names = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOINHERIT")
    flags = os.O_CREAT | sum(getattr(os, name, 0) for name in names)
    try:
        try:
            descriptor = os.open(path, flags | os.O_RDWR, 0o666)
        except PermissionError:  # another user's; to be locked it need not be written
            descriptor = os.open(path, flags & ~os.O_CREAT | os.O_RDONLY)
    except OSError as error:
        reason = f"Cannot lock, since this file cannot be opened ({error.strerror})"
        raise OSError(error.errno, reason, os.fspath(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"Cannot lock {os.fspath(path)}: it is not a regular file. Remove it.")
    return descriptor


def _take(descriptor):
    """Whether the lock was free, and is held now."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True
