"""Memory that is used again: aligned, never given away while anything refers to it, and bounded."""

import collections
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from cl_keras import aligned

SHAPE = (3, 256, 256)  # more than MIN_BYTES


@pytest.fixture(autouse=True)
def memories(monkeypatch):
    """The memory that is kept, none at the beginning."""
    kept: collections.deque = collections.deque()
    monkeypatch.setattr(aligned, "_memories", kept)
    return kept


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(5,), SHAPE, (0, 4)])
def test_arrays_begin_where_tensorflow_needs_it(shape, dtype):
    array = aligned.empty(shape, dtype)
    assert array.shape == shape and array.dtype == dtype and array.flags.c_contiguous
    assert array.size == 0 or array.ctypes.data % aligned.ALIGNMENT == 0
    array[:] = 7


def test_memory_is_used_again_after_its_last_reference():
    first = aligned.empty(SHAPE, np.uint8)
    where, part = first.ctypes.data, first[1:, 2]
    assert not np.shares_memory(aligned.empty(SHAPE, np.uint8), first)
    del first
    other = aligned.empty(SHAPE, np.uint8)
    assert not np.shares_memory(other, part), "a part is left"
    del part, other
    again = [aligned.empty(SHAPE, np.uint8) for _ in range(2)]
    assert where in [array.ctypes.data for array in again]
    assert not np.shares_memory(*again)


def test_tensors_keep_their_memory():
    def make(number):
        array = aligned.empty(SHAPE, np.float32)
        array[:] = number
        return array

    tensors = [tf.numpy_function(make, [float(number)], tf.float32) for number in range(20)]
    for number, tensor in enumerate(tensors):
        assert tf.reduce_all(tensor == number)


def test_threads_do_not_share():
    def work(number):
        for _ in range(50):
            array = aligned.empty(SHAPE, np.uint8)
            array[:] = number
            if (array != number).any():
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_what_is_kept_is_bounded(memories, monkeypatch):
    size = int(np.prod(SHAPE))
    monkeypatch.setattr(aligned, "MAX_BYTES", 3 * size)
    arrays = [aligned.empty(SHAPE, np.uint8) for _ in range(9)]
    assert sum(memory.nbytes for memory in memories) <= 3 * size
    assert all(not np.shares_memory(arrays[0], other) for other in arrays[1:])
    memories.clear()
    aligned.empty((4 * size,), np.uint8), aligned.empty((8,), np.uint8)
    assert not memories, "too large, and too small"
