"""Files that commands write: checked before the work, not after it."""

import os
import pathlib


def checked(path: str, *endings: str) -> pathlib.Path:
    """The path of a file that `--out` names, whose folder is there.

    Args:
        path: what was given.
        *endings: with which it may end; default: any.

    Raises:
        ValueError: for another ending.
        FileExistsError: if it is there already.
        OSError: if its folder cannot be made, or written to.
    """
    out = pathlib.Path(path)
    if endings and out.suffix not in endings:
        raise ValueError(f"--out must end in {' or '.join(endings)}; received {path}.")
    if out.exists():
        raise FileExistsError(f"{path} exists and is left as it is. Choose another name.")
    make_folder(out.parent)
    return out


def make_folder(path: str | os.PathLike) -> None:
    """Makes the folder that `--out` names, or in which it names a file, unless it is there.

    Raises:
        OSError: if it cannot be made, or written to.
    """
    try:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"The folder {path} of --out cannot be made: {error}.") from None
    if not os.access(path, os.W_OK):
        raise OSError(f"The folder {path} of --out may not be written to.")
