"""The images that a page shows, with their embeddings, and the queries the page can make."""

import functools
import io
import threading

import keras
import numpy as np
from PIL import Image

from cl_keras.data.pixels import decode
from cl_keras.data.printable import printable
from cl_keras.data.source import Source
from cl_keras.downstream import duplicates, select
from cl_keras.downstream.classifier import neighbor_distance
from cl_keras.evaluation import features
from cl_keras.evaluation.checks import normalize
from cl_keras.report.pictures import to_uint8
from cl_keras.report.plots import principal_plane

MAX_IMAGES = 50_000
THUMBNAIL = 72  # side in pixels
MAX_RESULTS = 200


class Collection:
    """Images with their embeddings in memory; the images are read when they are shown.

    Args:
        encoder: a `keras.Model` from images to vectors.
        source: of `data.load`; of more than 50,000 images, an evenly spaced 50,000 are used.
        progress: show a progress bar; default: True.
    """

    def __init__(self, encoder: keras.Model, source: Source, *, progress: bool = True):
        self._encoder, self._source = encoder, source
        found = features(encoder, source, progress=progress and "encode")
        rows = np.unique(
            np.linspace(0, len(found) - 1, min(len(found), MAX_IMAGES)).round().astype(int)
        )
        self._found = found.rows(rows)
        self._unit = normalize(self._found.vectors)
        self._reading = threading.Lock()
        self._picture = functools.lru_cache(maxsize=4096)(self._draw)

    def __len__(self) -> int:
        return len(self._found)

    def points(self) -> dict:
        """Coordinates, labels and names of all images, for JSON."""
        points, shares = principal_plane(self._found.vectors)
        low, high = points.min(axis=0), points.max(axis=0)
        points = (points - low) / np.maximum(high - low, 1e-9)
        labels, names = self._found.labels, self._source.class_names
        return {
            "x": points[:, 0].round(4).tolist(),
            "y": points[:, 1].round(4).tolist(),
            "label": [-1] * len(self) if labels is None else labels.tolist(),
            "class_names": list(map(str, names)) if names else None,
            "name": [self.name(row) for row in range(len(self))],
            "shares": [round(float(share), 3) for share in shares],
        }

    def name(self, row: int) -> str:
        """The file name of an image, or its number."""
        index = self._found.index[row]
        names = self._source.names
        return printable(names[index]) if names is not None else str(index)

    def picture(self, row: int) -> bytes:
        """The thumbnail of an image as a PNG.

        Raises:
            IndexError: there is no such image.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"row must be from 0 to {len(self) - 1}; received {row}.")
        return self._picture(row)

    def _draw(self, row):
        with self._reading:
            image = to_uint8(self._source.images([self._found.index[row]])[0])
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        picture = picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        return buffer.getvalue()

    def near(self, row: int, k: int = 24) -> list[list]:
        """The nearest images of an image: a list of [row, cosine], itself first."""
        if not 0 <= row < len(self):
            raise IndexError(f"row must be from 0 to {len(self) - 1}; received {row}.")
        return self._nearest(self._found.vectors[row : row + 1], k)

    def near_file(self, content: bytes, k: int = 24) -> list[list]:
        """The nearest images of an image file: a list of [row, cosine].

        Raises:
            ValueError: the file cannot be read as an image.
        """
        height, _, channels = self._source.image_shape
        try:
            image = decode(io.BytesIO(content), image_size=height, channels=channels)
        except Exception as error:  # decoders may raise anything for an untrusted file
            raise ValueError(f"The file cannot be read as an image: {error}.") from None
        with self._reading:
            vector = features(self._encoder, image[None], progress=False).vectors
        return self._nearest(vector, k)

    def _nearest(self, vectors, k):
        """The same as `evaluation.neighbors`, of one vector and a bank of unit rows."""
        cosines, k = self._unit @ normalize(vectors)[0], min(k, MAX_RESULTS, len(self))
        least = np.partition(cosines, len(self) - k)[len(self) - k]
        rows = np.flatnonzero(cosines >= least)  # ascending: equal ones in the order of the bank
        rows = rows[np.argsort(-cosines[rows], kind="stable")][:k]
        return [[int(row), round(float(cosines[row]), 4)] for row in rows]

    @functools.cached_property
    def outliers(self) -> list[list]:
        """The images that are farthest from their neighbors: a list of [row, distance]."""
        distance = neighbor_distance(self._found.vectors, self._found.vectors, skip=1)
        order = np.argsort(-distance)[:MAX_RESULTS]
        return [[int(row), round(float(distance[row]), 4)] for row in order]

    @functools.cached_property
    def pairs(self) -> list[list]:
        """Near-duplicates: a list of [row, row, correlation]."""
        with self._reading:
            found = duplicates(self._source)
        row_of = {int(index): row for row, index in enumerate(self._found.index)}
        return [
            [row_of[pair.first], row_of[pair.second], round(pair.correlation, 4)]
            for pair in found
            if pair.first in row_of and pair.second in row_of
        ][:MAX_RESULTS]

    def to_label(self, n: int) -> list[list]:
        """The images to label next: a list of [row, 0]."""
        labels = self._found.labels
        labeled = None if labels is None or (labels >= 0).all() else np.flatnonzero(labels >= 0)
        free = len(self) - (0 if labeled is None else len(labeled))
        rows = select(self._found.vectors, max(1, min(n, MAX_RESULTS, free)), labeled=labeled)
        return [[int(row), 0] for row in rows]
