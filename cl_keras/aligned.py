"""Arrays that TensorFlow uses as they are, without a copy, when they become tensors.

Their memory is used again once nothing refers to it. The system clears memory before it gives it to
a process, which for the views of a batch takes a third of the time in which they are made.
"""

from __future__ import annotations

import collections
import math
import sys

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64  # bytes; TensorFlow copies arrays that begin elsewhere
MIN_BYTES, MAX_BYTES = 2**17, 2**28
"""Least size of memory that is used again, and maximum of all of it."""

_memories: collections.deque[np.ndarray] = collections.deque()


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
    """An array of undefined values whose memory begins at a multiple of `ALIGNMENT`."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = _unused(size + ALIGNMENT)
    begin = -memory.ctypes.data % ALIGNMENT
    array = memory[begin : begin + size].view(dtype).reshape(shape)
    if MIN_BYTES <= size <= MAX_BYTES:
        _memories.append(memory)
        while sum(each.nbytes for each in tuple(_memories)) > MAX_BYTES:
            _take_oldest()
    return array


def _unused(size):
    """Memory of that size in bytes to which nothing else refers; it is no longer kept.

    Threads need no lock, since only one of them can take the same memory out.
    """
    for _ in range(len(_memories)):
        memory = _take_oldest()
        if memory is None:
            break
        if memory.nbytes == size and sys.getrefcount(memory) == _ALONE:
            return memory
        _memories.append(memory)
    return np.empty(size, np.uint8)


def _take_oldest():
    try:
        return _memories.popleft()
    except IndexError:  # other threads have taken all
        return None


def _references_of_new_array():
    array = np.empty(0, np.uint8)
    return sys.getrefcount(array)


_ALONE = _references_of_new_array()  # differs between versions of Python
