"""Numbered versions below a folder, each complete from the moment that it appears."""

import errno
import itertools
import os
import tempfile
from pathlib import Path


def add(path, build):
    """Make the next version below a folder: one more than the highest number there.

    It is built in a hidden folder beside the others and renamed, so that nobody meets half of it,
    and nothing that exists is touched.

    Args:
        path: `pathlib.Path` of the folder of versions; made if missing.
        build: function that is given a path and makes a folder there.

    Returns:
        `pathlib.Path` of the new version.

    Raises:
        OSError: if `path` is a file, or cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path, prefix=".unfinished-") as holder:
            # One level down, since the holder itself is closed to other users.
            folder = Path(holder) / "version"
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
