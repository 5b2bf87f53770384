"""Search for similar images."""

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
    """Embeddings of a set of images with their names, for exact search; it can be saved.

    Attributes:
        embeddings: float32 `[n, d]`.
        names: list of n file names, or of numbers for images without names.
        key: str that identifies the encoder and images; a different key means a different index.
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
            source: from `data.load`, or a uint8 array of images.
            key: see `Index`.
            progress: show a progress bar; default: True.
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
            queries: float `[q, d]`, from the same encoder.
            k: number of images, default: 10; at most all are returned.
            engine: `"blocks"`, or `"faiss"`, which finds the same by an `IndexFlatIP`, perhaps with
                equal cosines in another order; default: `"blocks"`.

        Returns:
            A list of (name, cosine) for each query, the nearest first.

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
        """Writes the index as a .npz file, atomically."""
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
            ValueError: the file is not an index.
        """
        try:
            embeddings, names, key = read_arrays(path, "embeddings", "names", "key")
            decoded = [name.decode("utf-8", "surrogateescape") for name in names.tolist()]
            return cls(embeddings, decoded, str(key))
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{path} is not an index ({error}) Delete it; the next search makes a new one."
            ) from None


def _import_faiss():
    try:
        return importlib.import_module("faiss")
    except ImportError:
        raise ImportError(
            'The engine "faiss" needs the package faiss-cpu: pip install "cl-keras[faiss]". The '
            'engine "blocks" finds the same without it.'
        ) from None
