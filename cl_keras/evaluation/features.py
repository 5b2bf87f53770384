"""The vectors that an encoder makes of a set of images, computed once."""

import dataclasses
import operator

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from cl_keras.data.pixel_range import warn_of_scale

_ARRAY_BATCH = 256  # rows a step where the caller gives no batches
_SAME = 1e-2  # difference of two vectors of one image at most, of the largest value


@dataclasses.dataclass(frozen=True)
class Features:
    """What an encoder made of a set of images.

    Attributes:
        vectors: float32 `[n, d]`.
        labels: int64 `[n]`, or None where the images have none.
        index: int64 `[n]`, the index of each image in its source, none twice; default: 0 … n-1.
        class_names: the name of label 0, 1, …; None where the classes have none.
    """

    vectors: np.ndarray
    labels: np.ndarray | None = None
    index: np.ndarray | None = None
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


def encode_function(model):
    """Returns `model` as a function from images [B, H, W, C] to vectors [B, D].

    A `keras.Model` is traced once, in inference mode, for every batch size; any other callable
    is taken as it is. Keep the result where the same model is measured again and again.

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


def features(model, batches, *, progress=True):
    """Encodes a set of images, streamed once, in inference mode.

    Args:
        model: a `keras.Model` or a function from images [B, H, W, C] to vectors [B, D].
        batches: elements `{"image", "index"[, "label"]}` with a leading batch axis: the `Batches`
            of a source, any finite `tf.data.Dataset` or iterable of such dictionaries; or a source
            itself; or an array of images [N, H, W, C]. Where there is no "index", rows are
            numbered as they come.
        progress: show a progress bar, on a terminal; a string is its title.

    Returns:
        `Features`, in the order of the stream. The last, partial batch is included; a row of an
        image that was there before (a stand-in for a broken file) is dropped.

    Raises:
        ValueError: the stream is endless, empty or of another form; several of its images have
            one index; the encoder gives no vector per image.
    """
    encode = encode_function(model)
    stream, total = image_batches(batches)
    title = progress if isinstance(progress, str) else "encode"
    found, rows = [], 0
    for element in tqdm(
        stream, total=total, desc=title, unit="batch", disable=None if progress else True
    ):
        image, index, label = _parts(element, first=rows)
        if not found:
            warn_of_scale(np.asarray(image))
        found.append((_vectors(encode(image), len(index)), index, label))
        rows += len(index)
    if not found:
        raise ValueError("Expected at least one batch of images; received none.")
    vectors, index, label = zip(*found, strict=True)
    labels = None if label[0] is None else np.concatenate(label)
    names = class_names_of(batches)
    found = Features(np.concatenate(vectors), labels, np.concatenate(index), names)
    return _without_repeats(found)


def class_names_of(batches) -> tuple[str, ...] | None:
    """The class names of a source or of its batches, or None."""
    source = getattr(batches, "source", batches)
    names = getattr(source, "class_names", None)
    return tuple(names) if names else None


def image_batches(batches):
    """The elements of whatever `features` takes, and their number (None where it is unknown)."""
    if hasattr(batches, "batches"):
        batches = batches.batches(_ARRAY_BATCH, shuffle=False)
    if isinstance(batches, tf.data.Dataset):
        size = int(batches.cardinality())
        if size == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "Expected one pass over the images; received an endless dataset. Use "
                "source.batches(…) without from_epoch or repeat(), or add .take(steps)."
            )
        return batches, size if size >= 0 else None
    if isinstance(batches, (np.ndarray, tf.Tensor)):
        if len(batches.shape) != 4:
            raise ValueError(f"Expected images [N, H, W, C]; received shape {batches.shape}.")
        starts = range(0, len(batches), _ARRAY_BATCH)
        return ({"image": batches[i : i + _ARRAY_BATCH]} for i in starts), len(starts)
    return batches, operator.length_hint(batches) or None


def _parts(element, first):
    """Image [B, H, W, C], index int64 [B] and label int64 [B] or None of one element."""
    if not isinstance(element, dict) or "image" not in element:
        held = sorted(element) if isinstance(element, dict) else type(element).__name__
        raise ValueError(
            'Expected elements {"image": …, "index": …[, "label": …]}; received '
            f"{held}. Map the dataset to that form, or use cl_keras.data.load."
        )
    image = element["image"]
    if len(image.shape) != 4:
        raise ValueError(
            f"Expected batches of images [B, H, W, C]; received shape {tuple(image.shape)}. "
            "Batch the dataset first: dataset.batch(256)."
        )
    index = np.asarray(element.get("index", np.arange(first, first + len(image))), np.int64)
    label = element.get("label")
    return image, index, None if label is None else np.asarray(label, np.int64)


def _vectors(output, rows):
    """The encoder's output as float32 [rows, D]."""
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
