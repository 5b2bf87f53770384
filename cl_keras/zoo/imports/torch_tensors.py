"""PyTorch's tensors in a pickle: a storage of numbers, and a view into it."""

import dataclasses

import numpy as np

from cl_keras.zoo.imports import pickles

MAX_DIMENSIONS = 8

STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}
"""Maps PyTorch's name of a storage to the type of its numbers, little-endian."""


@dataclasses.dataclass(frozen=True)
class StorageType:
    """The type of a storage's numbers, a value of `STORAGES`."""

    dtype: str

    @property
    def stored(self):
        """The NumPy type of the bytes; bfloat16, which NumPy lacks, is read as 16 bits."""
        return np.dtype("<u2" if self.dtype == "bfloat16" else self.dtype)


@dataclasses.dataclass(frozen=True)
class Storage:
    """The `size` numbers under `key` in the file, not yet read."""

    key: str
    type: StorageType
    size: int

    @property
    def nbytes(self):
        return self.size * self.type.stored.itemsize


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
    def size(self):
        """Its number of elements."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    def take(self, numbers):
        """The tensor as an array, from the numbers of its storage; bfloat16 becomes float32."""
        steps = [step * numbers.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(
            numbers[self.offset :], self.shape, steps, writeable=False
        )
        if self.storage.type.dtype == "bfloat16":
            return (view.astype("<u4") << 16).view("<f4")
        return np.array(view, order="C")


def is_size(number):
    """Whether a value can be a size: an int, not a bool, from 0 to what fits into memory."""
    return type(number) is int and 0 <= number < 2**48


def _rebuild(storage, offset, shape, strides, *_):
    """`torch._utils._rebuild_tensor[_v2]`; its other arguments concern gradients."""
    if isinstance(storage, pickles.Opaque):
        return storage
    return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(tensor, *_):
    return tensor


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
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{
        (module, name): StorageType(dtype)
        for module in ("torch", "torch.cuda")
        for name, dtype in STORAGES.items()
    },
}
"""The names in PyTorch's pickles that are built; all others are not."""
