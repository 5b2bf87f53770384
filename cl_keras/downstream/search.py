"""Finding the images most like a given one."""

import importlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from cl_keras.data import load
from cl_keras.downstream.arrays_file import read_arrays
from cl_keras.evaluation import features, neighbors
from cl_keras.evaluation.checks import normalize
from cl_keras.files import replacing

ENGINES = ("blocks", "faiss")
"""What searches: products of blocks, which need nothing more; or faiss, faster on many images."""


class Index:
    """Embeddings of a set of images with their names, kept in a file; the search is exact.

    Attributes:
        embeddings: float32 `[n, d]`.
        names: list of n file names, or numbers where the images have no names.
        key: str, what the index was made of; another key means another index.
    """

    def __init__(self, embeddings: np.ndarray, names: list[str], key: str = ""):
        if len(embeddings) != len(names):
            raise ValueError(
                f"Expected one name per embedding; received {len(names)} names and "
                f"{len(embeddings)} embeddings."
            )
        self.embeddings, self.names, self.key = embeddings, list(names), key
        self._faiss: Any = None

    @classmethod
    def build(
        cls, encoder: Callable, source: Any, *, key: str = "", progress: bool = True
    ) -> "Index":
        """Encodes all images of a source.

        Args:
            encoder: a `keras.Model` or function from images to vectors.
            source: of `data.load`, or a uint8 array of images.
            key: see `Index`.
            progress: show a progress bar.
        """
        source = load(source)
        found = features(encoder, source, progress=progress and "index")
        names = source.names or [str(row) for row in range(len(source))]
        return cls(found.vectors, [str(names[row]) for row in found.index], key)

    def search(
        self, queries: np.ndarray, k: int = 10, *, engine: str = "blocks"
    ) -> list[list[tuple[str, float]]]:
        """The nearest images of each query.

        Args:
            queries: float `[q, d]`, of the same encoder.
            k: how many, at most all; default: 10.
            engine: `"blocks"`, or `"faiss"`, which finds the same (equal cosines perhaps in another
                order) by an `IndexFlatIP`; default: `"blocks"`.

        Returns:
            For each query a list of (name, cosine), the nearest first.

        Raises:
            ValueError: another engine.
            ImportError: faiss is not installed.
        """
        if engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}; received {engine!r}.")
        find = self._find_by_faiss if engine == "faiss" else self._find_by_blocks
        rows, cosines = find(queries, min(k, len(self.names)))
        return [
            [(self.names[row], float(cosine)) for row, cosine in zip(*one, strict=True)]
            for one in zip(rows, cosines, strict=True)
        ]

    def _find_by_blocks(self, queries, k):
        return neighbors(self.embeddings, queries, k)

    def _find_by_faiss(self, queries, k):
        if self._faiss is None:
            self._faiss = _import_faiss().IndexFlatIP(self.embeddings.shape[1])
            self._faiss.add(normalize(self.embeddings))
        cosines, rows = self._faiss.search(normalize(np.asarray(queries, np.float32)), k)
        return rows, cosines

    def save(self, path: str | os.PathLike) -> None:
        """Writes the index as a .npz file, whole or not at all."""
        path = pathlib.Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            with open(temporary, "wb") as file:
                names = np.array([name.encode("utf-8", "surrogateescape") for name in self.names])
                np.savez(file, embeddings=self.embeddings, names=names, key=np.array(self.key))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Index":
        """Reads what `save` wrote.

        Raises:
            ValueError: a file of another kind.
        """
        try:
            embeddings, names, key = read_arrays(path, "embeddings", "names", "key")
            decoded = [name.decode("utf-8", "surrogateescape") for name in names.tolist()]
            return cls(embeddings, decoded, str(key))
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{path} is not an index ({error}) Delete it; the next search makes it anew."
            ) from None


def _import_faiss():
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise ImportError(
            'The engine "faiss" needs the package faiss-cpu: pip install "cl-keras[faiss]". The '
            'engine "blocks" finds the same without it.'
        ) from None
