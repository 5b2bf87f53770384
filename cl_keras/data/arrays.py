"""Images that are a NumPy array already, in memory or memory-mapped."""

import numpy as np

from cl_keras.data.pixels import fit
from cl_keras.data.source import Source


class ArraySource(Source):
    """Images from one uint8 array, which is neither copied nor changed.

    Args:
        array: uint8 [N, H, W] or [N, H, W, C] with C 1, 3, or 4 (RGBA, composited on white);
            a `numpy.memmap` is read piece by piece.
        name: str. Default: "array".
        image_size: int. Default: None, as it is.
        channels: 1 or 3. Default: None, 1 for grey and 3 for colour.
        labels: integers [N]. Default: None.
        class_names: list of str. Default: None.

    Raises:
        TypeError, ValueError: the array is not as described, or the count of labels differs.
    """

    def __init__(
        self, array, *, name="array", image_size=None, channels=None, labels=None, class_names=None
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

    def _read(self, indices):
        images = self._array[indices]
        if images.shape[1:] == self.image_shape:
            return np.asarray(images), indices
        how = {"image_size": self._image_size, "channels": self._channels}
        return np.stack([fit(image, **how) for image in images]), indices


def _checked(array):
    """The array as [N, H, W, C], or an error that says how to make it so."""
    if array.dtype != np.uint8:
        raise TypeError(
            "an array of images must be uint8 with values 0 to 255; received "
            f"{array.dtype} of shape {array.shape}. From floats in 0 … 1: "
            "(array * 255).round().astype('uint8')."
        )
    grey = array.ndim == 3
    shaped = array[..., np.newaxis] if grey else array
    if shaped.ndim != 4 or shaped.shape[-1] not in (1, 3, 4):
        raise ValueError(
            "an array of images must have the shape [N, H, W] or [N, H, W, C] with C 1, 3 or 4; "
            f"received {array.shape}. Channels first: array.transpose(0, 2, 3, 1)."
        )
    if 0 in shaped.shape:
        raise ValueError(f"an array of images must not be empty; received the shape {array.shape}.")
    return shaped
