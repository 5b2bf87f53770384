"""Loops that numba compiles and graphs of TensorFlow call, on all cores of a CPU."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from cl_keras import bounds

PARTS_OF_CORE = 4
"""Parts that a core takes, one after the other, since some take longer."""


def compiled(function: Callable) -> Callable:
    """Compiles a function in its first call, and caches it next to the module or in the user's
    cache."""
    import numba  # slow to import, and not needed on a GPU

    options: dict[str, Any] = {"nogil": True, "fastmath": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither is writable
        return numba.njit(**options)(function)


def fit_here() -> bool:
    """Whether loops are the fastest form here: there is no GPU, and XLA does not compile the
    function that is being traced, which it cannot do with loops."""
    return not (tf.config.list_logical_devices("GPU") or in_xla())


def in_xla() -> bool:
    """Whether XLA compiles the function that is being traced."""
    # There is no public way to ask, within a traced function, whether XLA compiles its caller.
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def on_all_cores(work: Callable[[int, int], object], rows: int, most: int | None = None) -> None:
    """Calls `work(first, last)` for consecutive parts of the rows, on all cores.

    Args:
        work: a function that frees Python's lock, such as a compiled loop.
        rows: number of rows.
        most: maximum number of parts; default: none.
    """
    cores = bounds.cores()
    count = max(1, min(PARTS_OF_CORE * cores, rows, most or rows))
    ends = np.linspace(0, rows, count + 1).astype(int).tolist()
    parts = iter(list(zip(ends, ends[1:], strict=False)))

    def take(_=None):
        for first, last in parts:  # whichever thread comes first takes the next
            work(first, last)

    if count == 1:
        take()
    else:
        list(_pool(os.getpid(), cores).map(take, range(cores)))


@functools.lru_cache(maxsize=1)  # by process, since a forked one has no threads of its parent
def _pool(pid, cores):
    return ThreadPoolExecutor(cores, thread_name_prefix="loops")
