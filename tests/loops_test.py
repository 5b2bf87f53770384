import threading

import numba
import pytest
import tensorflow as tf

from cl_keras import bounds, loops


def test_without_a_cache_folder_functions_are_compiled_anyway(monkeypatch):
    njit = numba.njit

    def read_only(*args, cache=False, **options):
        if cache and not args:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(numba, "njit", read_only)
    twice = loops.compiled(lambda x: x + x)
    assert twice(3) == 6


@pytest.mark.parametrize("rows, most", [(0, None), (1, None), (3, None), (100, None), (100, 2)])
def test_every_row_is_worked_on_once(rows, most, monkeypatch):
    monkeypatch.setattr(bounds, "cores", lambda: 3)
    seen, lock = [], threading.Lock()

    def work(first, last):
        with lock:
            seen.append(range(first, last))

    loops.on_all_cores(work, rows, most)
    assert sorted(row for part in seen for row in part) == list(range(rows))
    assert len(seen) <= min(most or 12, 12)


def test_an_error_in_a_part_is_raised():
    with pytest.raises(ZeroDivisionError):
        loops.on_all_cores(lambda first, last: 1 / first, 64, 64)


def test_loops_do_not_fit_where_xla_compiles():
    seen = {}

    def look(name):
        seen[name] = loops.fit_here()
        return tf.constant(0)

    look("eager")
    tf.function(look)("graph")
    tf.function(look, jit_compile=True)("XLA")
    tf.function(lambda: tf.function(look)("inside XLA"), jit_compile=True)()
    assert seen == {"eager": True, "graph": True, "XLA": False, "inside XLA": False}
