"""Images from a NumPy array, in memory or memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cl_keras.data.identity import Identity, Image, hash_image
from cl_keras.data.pixel_range import conversion
from cl_keras.data.pixels import fit
from cl_keras.data.source import Source


class ArraySource(Source):
    """Images from one uint8 array, which is neither copied nor changed.

    Args:
        array: uint8 `[n, h, w]` or `[n, h, w, c]` with c 1, 3, or 4 (RGBA, composited on white);
            a `numpy.memmap` is read piece by piece.
        name: name of the source; default: "array".
        image_size: side in pixels; default: None, as stored.
        channels: 1 or 3; default: None, 1 for gray and 3 for color.
        labels: integers `[n]`; default: None.
        class_names: names of the labels; default: None.

    Raises:
        TypeError, ValueError: the array is not as described, or has another number of labels.
    """

    def __init__(
        self,
        array: np.ndarray,
        *,
        name: str = "array",
        image_size: int | None = None,
        channels: int | None = None,
        labels: Sequence[int] | np.ndarray | None = None,
        class_names: Sequence[str] | None = None,
    ):
        array = _checked(array)
        height, width, found = array.shape[1:]
        self._array = array
        self._image_size = image_size
        self._channels = channels or (1 if found == 1 else 3)
        size = (height, width) if image_size is None else (image_size, image_size)
        super().__init__(
            name, len(array), (*size, self._channels), labels=labels, class_names=class_names
        )

    def identity(self) -> Identity:
        """A hash of each image, made from at most 4,096 of its bytes."""
        images = tuple(Image(None, hash_image(image)) for image in self._array)
        return Identity({"kind": "array", "num_images": self.num_images}, images)

    def glances(self, indices, side):
        """See `Source.glances`."""
        for index in indices:
            image = self._array[index]
            yield image.shape[:2], fit(image, channels=1 if image.shape[-1] == 1 else 3)

    def _read(self, indices):
        images = self._array[indices]
        if images.shape[1:] == self.image_shape:
            return np.asarray(images), indices
        options = {"image_size": self._image_size, "channels": self._channels}
        return np.stack([fit(image, **options) for image in images]), indices


def _checked(array):
    """The array as `[n, h, w, c]`, or an error that says how to convert it."""
    if array.dtype != np.uint8:
        raise TypeError(
            "an array of images must be uint8 with values 0 to 255; received "
            f"{array.dtype} of shape {array.shape}. {conversion(array)}"
        )
    shaped = array[..., np.newaxis] if array.ndim == 3 else array
    if shaped.ndim != 4 or shaped.shape[-1] not in (1, 3, 4):
        raise ValueError(
            "an array of images must have the shape [n, h, w] or [n, h, w, c] with c 1, 3 or 4; "
            f"received {array.shape}. If the channels come first, use array.transpose(0, 2, 3, 1)."
        )
    if 0 in shaped.shape:
        raise ValueError(f"an array of images must not be empty; received shape {array.shape}.")
    return shaped
