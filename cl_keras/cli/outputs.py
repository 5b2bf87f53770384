"""Checks of the files and folders that commands write, made before the work begins."""

import os
import pathlib


def checked(path: str, *endings: str) -> pathlib.Path:
    """The path of a new file that `--out` names, in a folder that is created if needed.

    Args:
        path: value of the flag.
        *endings: allowed suffixes; default: any.

    Raises:
        ValueError: for another suffix.
        FileExistsError: if it exists.
        OSError: if its folder cannot be created or written to.
    """
    out = pathlib.Path(path)
    if endings and out.suffix not in endings:
        raise ValueError(f"--out must end in {' or '.join(endings)}; received {path}.")
    if out.exists():
        raise FileExistsError(f"{path} exists and is left as it is. Choose another name.")
    make_folder(out.parent)
    return out


def make_folder(path: str | os.PathLike) -> None:
    """Creates the folder of `--out`, unless it exists.

    Raises:
        OSError: if it cannot be created or written to.
    """
    try:
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"The folder {path} of --out cannot be created: {error}.") from None
    if not os.access(path, os.W_OK):
        raise OSError(f"The folder {path} of --out is not writable.")
