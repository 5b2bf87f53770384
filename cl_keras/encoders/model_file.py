"""Loads `.keras` files, which may be damaged."""

from __future__ import annotations

import os

import keras


def load_model(path: str | os.PathLike) -> keras.Model:
    """Loads the model in a `.keras` file, without compiling it.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, or not a model that can be loaded here.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {os.fspath(path)}.")
    try:
        return keras.models.load_model(path, compile=False)
    except MemoryError:
        raise
    except Exception as error:  # Keras, zipfile, h5py and json raise many kinds
        lines = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__}: {lines[0][:200]}".rstrip(": ")
        raise ValueError(
            f"{os.fspath(path)} is damaged, or not a Keras model that can be loaded ({reason})."
        ) from error
