"""Numbered versions below a folder, each complete as soon as it appears."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from cl_keras.locks import Locked, locked

UNFINISHED = ".unfinished-"
LOCK = ".lock"
"""Lock file in the folder of versions while a version is begun, and in it while it is built."""


def add(path: Path, build: Callable[[Path], object]) -> Path:
    """Creates the next version below a folder: one more than the highest number there.

    It is built in a hidden folder next to the others and then renamed, so that it is never visible
    half done, and nothing existing is touched. Leftovers of killed processes are removed.

    Args:
        path: folder of the versions; created if missing.
        build: function that creates a folder at the path that it is given.

    Returns:
        Path of the new version.

    Raises:
        OSError: if `path` is a file, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with _unfinished_folder(path) as holder:
            # One level down, since other users cannot open the holder itself.
            folder = holder / "version"
            build(folder)
            return _rename_to_next(folder, path)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            errno.ENOTDIR, "Expected a folder for the versions, received a file", str(path)
        ) from error
    except PermissionError as error:
        raise PermissionError(
            errno.EACCES, "Expected a writable folder, choose another one than", str(path)
        ) from error


@contextlib.contextmanager
def _unfinished_folder(path: Path) -> Iterator[Path]:
    """A hidden folder that is locked as long as its process lives."""
    with contextlib.ExitStack() as stack:
        with locked(path / LOCK):  # so that none is removed before it is locked itself
            _remove_abandoned(path)
            holder = stack.enter_context(tempfile.TemporaryDirectory(dir=path, prefix=UNFINISHED))
            stack.enter_context(locked(Path(holder) / LOCK))
        yield Path(holder)


def _remove_abandoned(path):
    for holder in path.glob(f"{UNFINISHED}*"):
        if holder.is_dir() and not holder.is_symlink():
            with contextlib.suppress(Locked), locked(holder / LOCK, wait=False):
                shutil.rmtree(holder, ignore_errors=True)


def _rename_to_next(folder, path):
    taken = [int(entry.name) for entry in path.iterdir() if entry.name.isdecimal()]
    for number in itertools.count(max(taken, default=0) + 1):
        version = path / str(number)
        try:
            os.rename(folder, version)  # fails if another process has just taken the number
            return version
        except OSError:
            if not version.exists():
                raise
