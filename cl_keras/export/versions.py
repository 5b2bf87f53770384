"""Numbered versions below a folder, each complete from the moment that it appears."""

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
"""In the folder of versions while a folder is begun, and in an unfinished one while it is built."""


def add(path: Path, build: Callable[[Path], object]) -> Path:
    """Makes the next version below a folder: one more than the highest number there.

    It is built in a hidden folder beside the others and renamed, so that nobody meets half of it,
    and nothing that exists is touched. What processes left unfinished that were killed is removed.

    Args:
        path: folder of the versions; made if missing.
        build: function that is given a path and makes a folder there.

    Returns:
        Path of the new version.

    Raises:
        OSError: if `path` is a file, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with _unfinished_folder(path) as holder:
            # One level down, since the holder itself is closed to other users.
            folder = holder / "version"
            build(folder)
            return _rename_to_next(folder, path)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            errno.ENOTDIR, "Expected a folder for the versions, received a file", str(path)
        ) from error
    except PermissionError as error:
        raise PermissionError(
            errno.EACCES, "Expected a folder that can be written, choose another than", str(path)
        ) from error


@contextlib.contextmanager
def _unfinished_folder(path: Path) -> Iterator[Path]:
    """A hidden folder, locked as long as its process lives."""
    with contextlib.ExitStack() as stack:
        with locked(path / LOCK):  # so that none is removed before it is locked
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
