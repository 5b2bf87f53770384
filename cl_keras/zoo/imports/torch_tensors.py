"""PyTorch's tensors in a pickle: a storage of numbers, and a view into it."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from cl_keras.zoo.imports import pickles

MAX_DIMENSIONS = 8

BFLOAT16 = np.dtype(tf.bfloat16.as_numpy_dtype)
STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": BFLOAT16,
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("<i1"),
    "ByteStorage": np.dtype("<u1"),
    "BoolStorage": np.dtype("|b1"),
}
"""Maps PyTorch's name of a storage to the type of its numbers."""


@dataclasses.dataclass(frozen=True)
class Storage:
    """The `size` numbers under `key` in the file, not yet read."""

    key: str
    dtype: np.dtype
    size: int

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view into a storage, checked to stay within it; strides count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self):
        lengths = (self.shape, self.strides)
        if not isinstance(self.storage, Storage) or not all(isinstance(x, tuple) for x in lengths):
            raise ValueError("A tensor must have a storage, a shape and strides.")
        if len(self.shape) != len(self.strides) or len(self.shape) > MAX_DIMENSIONS:
            raise ValueError(
                f"A tensor must have a stride for each of at most {MAX_DIMENSIONS} axes; received "
                f"{len(self.strides)} for {len(self.shape)}."
            )
        if not all(is_size(number) for number in (self.offset, *self.shape, *self.strides)):
            raise ValueError(
                "Offset, shape and strides of a tensor must be integers of at least 0."
            )
        spans = [(length - 1) * step for length, step in zip(self.shape, self.strides, strict=True)]
        last = self.offset + sum(spans) if self.size else 0
        if last >= max(self.storage.size, 1) or self.size > self.storage.size:
            raise ValueError(
                f"A tensor of shape {list(self.shape)} reaches beyond its storage of "
                f"{self.storage.size} numbers."
            )

    @property
    def size(self) -> int:
        """Its number of elements."""
        return math.prod(self.shape)

    def take(self, numbers: np.ndarray) -> np.ndarray:
        """The tensor as an array, from the numbers of its storage; bfloat16 becomes float32."""
        steps = [step * numbers.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(
            numbers[self.offset :], self.shape, steps, writeable=False
        )
        dtype = np.float32 if self.storage.dtype == BFLOAT16 else None
        return np.array(view, dtype, order="C")


def is_size(number: object) -> bool:
    """Whether a value can be a size: an int, not a bool, from 0 to what fits into memory."""
    return type(number) is int and 0 <= number < 2**48


def _rebuild(storage, offset, shape, strides, *_):
    """`torch._utils._rebuild_tensor[_v2]`; its other arguments concern gradients."""
    if isinstance(storage, pickles.Opaque):
        return storage
    return Tensor(storage, offset, shape, strides)


def _ordered_dict(items=()):
    """`collections.OrderedDict`, built as a dict, which is ordered too."""
    if not isinstance(items, list | tuple) or not all(
        isinstance(item, list | tuple) and len(item) == 2 for item in items
    ):
        raise ValueError("The items of an OrderedDict must be pairs.")
    return pickles.pairs([part for item in items for part in item])


NAMES = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch._utils", "_rebuild_tensor"): _rebuild,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
    **{
        (module, name): dtype
        for module in ("torch", "torch.cuda")
        for name, dtype in STORAGES.items()
    },
}
"""The names in PyTorch's pickles that are built; all others are not."""
