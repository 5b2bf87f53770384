"""Locks between processes, on all platforms."""

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


# Libraries such as filelock are not used, since they empty the file that they lock.
@contextlib.contextmanager
def locked(
    path: str | os.PathLike, *, wait: bool = True, on_wait: Callable[[], object] | None = None
) -> Iterator[None]:
    """Holds a lock, which is released even if the process is killed.

    Args:
        path: path of a lock file, created if needed and never written to. It must be a regular
            file, not a link.
        wait: whether to wait for another process that holds the lock; default: True.
        on_wait: called once before waiting; default: None.

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
        os.close(descriptor)  # releases the lock


def _open(path):
    # A pipe would block without O_NONBLOCK; Windows has no such pipes or flags.
    names = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOINHERIT")
    flags = os.O_CREAT | sum(getattr(os, name, 0) for name in names)
    try:
        try:
            descriptor = os.open(path, flags | os.O_RDWR, 0o666)
        except PermissionError:  # another user's file, which can be locked without write access
            descriptor = os.open(path, flags & ~os.O_CREAT | os.O_RDONLY)
    except OSError as error:
        reason = f"Cannot lock, since this file cannot be opened ({error.strerror})"
        raise OSError(error.errno, reason, os.fspath(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"Cannot lock {os.fspath(path)}: it is not a regular file. Remove it.")
    return descriptor


def _take(descriptor):
    """Takes the lock if it is free; returns whether it was."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True
