"""The features of a set of images, computed once."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from cl_keras.data.image_batches import one_pass
from cl_keras.data.pixel_range import warn_of_scale

_SAME = 1e-2  # maximum difference of two vectors of one image, relative to the largest value


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of a set of images.

    Attributes:
        vectors: float32 `[n, d]`.
        labels: int64 `[n]`; default: None, unlabeled.
        index: int64 `[n]`, the unique index of each image in its source; default: 0 … n-1.
        class_names: names of labels 0, 1, …; default: None.
    """

    vectors: np.ndarray
    labels: np.ndarray | None = None
    index: np.ndarray = None  # type: ignore[assignment]  # set by __post_init__
    class_names: tuple[str, ...] | None = None

    def __post_init__(self):
        if self.index is None:
            object.__setattr__(self, "index", np.arange(len(self.vectors)))

    def __len__(self):
        return len(self.vectors)

    def rows(self, rows: np.ndarray) -> "Features":
        """The features of some rows.

        Args:
            rows: int `[k]` or bool `[n]`.
        """
        labels = None if self.labels is None else np.asarray(self.labels)[rows]
        vectors = np.asarray(self.vectors)[rows]
        return Features(vectors, labels, np.asarray(self.index)[rows], self.class_names)


def encode_function(model: keras.Model | Callable) -> Callable:
    """`model` as a function from images `[b, h, w, c]` to vectors `[b, d]`.

    A `keras.Model` is traced once, in inference mode, for all batch sizes; any other callable is
    returned as it is. Keep the result if you evaluate the same model repeatedly.

    Raises:
        TypeError: `model` cannot be called.
    """
    if not callable(model):
        raise TypeError(
            f"The encoder must be a keras.Model or a function from images to vectors; received "
            f"{type(model).__name__}."
        )
    if not isinstance(model, keras.Model):
        return model
    function = tf.function(lambda images: model(images, training=False), autograph=False)

    def encode(images):
        images = tf.convert_to_tensor(images)
        any_number = tf.TensorSpec([None, *images.shape[1:]], images.dtype)
        return function.get_concrete_function(any_number)(images)

    return encode


def features(
    model: keras.Model | Callable, batches: Any, *, progress: bool | str = True
) -> Features:
    """Encodes a set of images in one pass, in inference mode.

    Args:
        model: a `keras.Model` or a function from images `[b, h, w, c]` to vectors `[b, d]`.
        batches: elements `{"image", "index"[, "label"]}` with a leading batch axis: the `Batches`
            of a source, any finite `tf.data.Dataset` or iterable of such dictionaries; or a source
            itself; or an array of images `[n, h, w, c]`. Without "index", rows are numbered in
            order.
        progress: show a progress bar, on a terminal; a string is its title; default: True.

    Returns:
        `Features`, in the order of the stream. A smaller last batch is included; a row that repeats
        an image (in place of a broken file) is dropped.

    Raises:
        ValueError: the stream is endless, empty or of another form; different images share an
            index; or the encoder does not give one vector per image.
    """
    encode = encode_function(model)
    stream, total = one_pass(batches)
    title = progress if isinstance(progress, str) else "encode"
    parts: list[tuple] = []
    rows = 0
    for element in tqdm(
        stream, total=total, desc=title, unit="batch", disable=None if progress else True
    ):
        image, index, label = _parts(element, first=rows)
        if not parts:
            warn_of_scale(np.asarray(image))
        parts.append((_vectors(encode(image), len(index)), index, label))
        rows += len(index)
    if not parts:
        raise ValueError("Expected at least one batch of images; received none.")
    vectors, index, label = zip(*parts, strict=True)
    labels = None if label[0] is None else np.concatenate(label)
    names = class_names_of(batches)
    found = Features(np.concatenate(vectors), labels, np.concatenate(index), names)
    return _without_repeats(found)


def class_names_of(batches: Any) -> tuple[str, ...] | None:
    """The class names of a source or of its batches, or None."""
    source = getattr(batches, "source", batches)
    names = getattr(source, "class_names", None)
    return tuple(names) if names else None


def _parts(element, first):
    """Image `[b, h, w, c]`, index int64 `[b]`, and label int64 `[b]` or None of one element."""
    if not isinstance(element, dict) or "image" not in element:
        received = sorted(element) if isinstance(element, dict) else type(element).__name__
        raise ValueError(
            'Expected elements {"image": …, "index": …[, "label": …]}; received '
            f"{received}. Map the dataset to that form, or use cl_keras.data.load."
        )
    image = element["image"]
    if len(image.shape) != 4:
        raise ValueError(
            f"Expected batches of images [b, h, w, c]; received shape {tuple(image.shape)}. "
            "Batch the dataset first: dataset.batch(256)."
        )
    index = np.asarray(element.get("index", np.arange(first, first + len(image))), np.int64)
    label = element.get("label")
    return image, index, None if label is None else np.asarray(label, np.int64)


def _vectors(output, rows):
    """The encoder's output as float32 `[rows, d]`."""
    shape = tuple(output.shape)
    if len(shape) != 2 or shape[0] != rows:
        raise ValueError(
            f"The encoder must give one vector per image, [{rows}, width]; received shape {shape}. "
            "Pool a feature map, for example with keras.layers.GlobalAveragePooling2D()."
        )
    return np.asarray(tf.cast(output, tf.float32))


def _without_repeats(found):
    """Keeps the first row of every index, in the order of the stream.

    Raises:
        ValueError: rows of one index are not of the same image.
    """
    _, keep, which = np.unique(found.index, return_index=True, return_inverse=True)
    if len(keep) == len(found):
        return found
    first = found.vectors[keep[which]]
    scale = np.abs(first).max(axis=1, keepdims=True)
    same = np.isclose(found.vectors, first, rtol=0, atol=_SAME * scale, equal_nan=True).all(axis=1)
    if found.labels is not None:
        same &= found.labels == found.labels[keep[which]]
    if not same.all():
        raise ValueError(
            f"the index {found.index[np.argmin(same)]} stands for several images of this stream. "
            "Join the sources before they are batched, data.join([first, second]).batches(…), or "
            "number all images from 0 on."
        )
    return found.rows(np.sort(keep))
