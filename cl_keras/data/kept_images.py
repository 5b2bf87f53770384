"""Decoded images that stay in memory, so that each file is decoded once."""

from __future__ import annotations

import numpy as np

from cl_keras import bounds

MAX_BYTES = 2**30
"""Maximum size of the images of a source that are kept."""

MAX_SHARE = 1 / 8
"""Maximum share of the machine's memory that they take."""


class KeptImages:
    """The images of a source that were decoded so far, if all of them fit.

    Memory is taken as images arrive. Any number of threads may call all methods without a lock: an
    image is marked as kept after it was stored, and threads that decode the same file store the
    same pixels. A forked process continues with the images of its parent; a pickle has none.

    Args:
        shape: (number of images, height, width, channels).
    """

    def __init__(self, shape: tuple[int, int, int, int]):
        self._shape = shape
        fits = fits_in_memory(int(np.prod(shape, dtype=np.int64)))
        self._images = np.empty(shape, np.uint8) if fits else None
        self._has = np.zeros(shape[0] if fits else 0, bool)

    def take(self, indices: np.ndarray) -> np.ndarray | None:
        """A copy of the images int64 `[n]`, uint8 `[n, h, w, c]`; None if one is not kept."""
        if self._images is None or not self._has[indices].all():
            return None
        return self._images[indices]

    def get(self, index: int) -> np.ndarray | None:
        """One image, or None; not to be changed."""
        return self._images[index] if self._images is not None and self._has[index] else None

    def add(self, indices: int | np.ndarray, images: np.ndarray) -> None:
        """Keeps an image, uint8 `[h, w, c]`, or several, `[n, h, w, c]` for int64 `[n]`."""
        if self._images is not None:
            self._images[indices] = images
            self._has[indices] = True

    def remove(self, index: int) -> None:
        """Forgets an image."""
        if self._images is not None:
            self._has[index] = False

    def __reduce__(self):
        return KeptImages, (self._shape,)


def fits_in_memory(num_bytes: int) -> bool:
    """Whether images of that size in bytes are kept."""
    memory = bounds.memory_of_machine()
    return num_bytes <= min(MAX_BYTES, MAX_SHARE * memory if memory else MAX_BYTES)
