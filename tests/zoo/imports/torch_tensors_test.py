"""Views of storages, against NumPy's, and which are refused."""

import numpy as np
import pytest

from cl_keras.zoo.imports import torch_tensors
from cl_keras.zoo.imports.torch_tensors import BFLOAT16, Storage, Tensor

FLOATS = np.dtype("<f4")


@pytest.mark.parametrize(
    "offset, shape, strides",
    [
        (0, (24,), (1,)),
        (5, (2, 3), (9, 2)),
        (0, (4, 6), (1, 4)),
        (23, (), ()),
        (0, (0, 7), (1, 1)),
        (3, (5, 1), (4, 1000)),
        (2, (3, 2), (0, 1)),
        (0, (1,) * 8, (1,) * 8),
    ],
)
def test_a_view_names_the_numbers_that_its_strides_say(offset, shape, strides):
    numbers = np.arange(24, dtype="<f4")
    tensor = Tensor(Storage("0", FLOATS, 24), offset, shape, strides)
    expected = np.empty(shape, "<f4")
    for place in np.ndindex(*shape):
        steps = [index * step for index, step in zip(place, strides, strict=True)]
        expected[place] = numbers[offset + sum(steps)]
    found = tensor.take(numbers)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == shape
    assert found.flags.owndata or not found.size


@pytest.mark.parametrize("name, stored", torch_tensors.STORAGES.items())
def test_every_kind_of_number_keeps_its_values(name, stored):
    if stored == BFLOAT16:
        values = np.array([1.5, -2.0, 3.0e38], "<f4")
        values = (values.view("<u4") & 0xFFFF0000).view("<f4")
        raw = (values.view("<u4") >> 16).astype("<u2").tobytes()
    else:
        values = np.array([1, 0, 1], stored)
        raw = values.tobytes()
    assert torch_tensors.NAMES["torch", name] == stored
    storage = Storage("0", stored, 3)
    assert storage.nbytes == len(raw)
    found = Tensor(storage, 0, (3,), (1,)).take(np.frombuffer(raw, stored))
    np.testing.assert_array_equal(found, values)
    assert found.dtype == values.dtype


@pytest.mark.parametrize(
    "offset, shape, strides, complaint",
    [
        (0, (25,), (1,), "reaches beyond"),
        (1, (24,), (1,), "reaches beyond"),
        (24, (1,), (1,), "reaches beyond"),
        (0, (2, 2), (23, 1), "reaches beyond"),
        (0, (5, 5), (0, 1), "reaches beyond"),
        (0, (2**40, 2**40), (0, 0), "reaches beyond"),
        (0, (2**47, 2**47, 2**47), (2**47, 2**47, 1), "reaches beyond"),
        (-1, (2,), (1,), "at least 0"),
        (23, (24,), (-1,), "at least 0"),
        (0, (-2,), (1,), "at least 0"),
        (0, (2**50,), (0,), "at least 0"),
        (0, (True,), (1,), "at least 0"),
        (0, (2.0,), (1,), "at least 0"),
        (None, (2,), (1,), "at least 0"),
        (0, (2, 2), (1,), "a stride for each"),
        (0, (1,) * 9, (1,) * 9, "a stride for each of at most 8"),
        (0, [2], (1,), "must have a storage"),
        (0, (2,), "1", "must have a storage"),
    ],
)
def test_a_view_beyond_its_storage_is_refused(offset, shape, strides, complaint):
    with pytest.raises(ValueError, match=complaint):
        Tensor(Storage("0", FLOATS, 24), offset, shape, strides)


def test_only_a_storage_can_be_viewed():
    with pytest.raises(ValueError, match="must have a storage"):
        Tensor("0", 0, (1,), (1,))
