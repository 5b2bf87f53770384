"""Arrays in `.npz` files, which may be damaged."""

import os

import numpy as np


def read_arrays(path: str | os.PathLike, *names: str) -> list[np.ndarray]:
    """The named arrays of a file that `numpy.savez` wrote.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is damaged, or lacks one of the arrays.
    """
    with open(path, "rb") as stream:
        try:
            with np.load(stream, allow_pickle=False) as file:
                return [file[name] for name in names]
        except MemoryError:
            raise
        except Exception as error:  # zipfile, zlib and NumPy raise many kinds
            raise ValueError(
                f"{os.fspath(path)} is damaged, or not a file of {', '.join(names)} "
                f"({type(error).__name__})."
            ) from error
