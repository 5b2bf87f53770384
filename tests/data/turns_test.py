"""Threads take turns while their work is short, and work at once when it waits or is long."""

import multiprocessing
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cl_keras.data import turns
from cl_keras.data.turns import Turns


class Clock:
    """Stands for the module `time`: each part of the work takes so many seconds."""

    def __init__(self, wall, cpu):
        self.wall, self.cpu, self.calls = wall, cpu, 0

    def perf_counter(self):
        self.calls += 1
        return self.calls * self.wall

    def thread_time(self):
        return self.calls * self.cpu


@pytest.mark.parametrize(
    ("wall", "cpu", "at_once"),
    [
        (0.0040, 0.0030, False),  # 32 files in 3 ms: nothing waits, all is short
        (0.0080, 0.0030, True),  # more than half of the time is spent waiting
        (0.0080, 0.0070, True),  # more than 150 µs a file, mostly in a decoder
    ],
)
def test_turns_end_when_the_work_waits_or_is_long(monkeypatch, wall, cpu, at_once):
    monkeypatch.setattr(turns, "time", Clock(wall, cpu))
    each = Turns()
    for _ in range(5):
        with each.one(32):
            pass
    assert not each.all_at_once, "a few parts say little"
    for _ in range(100):
        with each.one(32):
            pass
    assert each.all_at_once is at_once


def most_at_once(each):
    """The highest number of threads found within `each.one` at the same time."""
    inside, counts, barrier = [], [], threading.Barrier(4)

    def work(number):
        barrier.wait(10)
        with each.one(1):
            inside.append(number)
            threading.Event().wait(0.02)
            counts.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    return max(counts)


def test_one_thread_at_a_time_until_turns_end():
    each = Turns()
    assert most_at_once(each) == 1
    each._wall = 1e9
    assert each.all_at_once and most_at_once(each) > 1


def test_an_error_ends_a_turn():
    each = Turns()
    with pytest.raises(KeyError), each.one(1):
        raise KeyError
    assert most_at_once(each) == 1


def test_a_forked_process_does_not_wait_for_its_parent():
    each = pickle.loads(pickle.dumps(Turns()))
    child = multiprocessing.get_context("fork").Process(target=lambda: each.one(1).__enter__())
    with pytest.MonkeyPatch.context() as patch, each.one(1):
        patch.setattr("warnings.warn", lambda *args, **options: None)  # of threads beside fork
        child.start()
    child.join(20)
    assert child.exitcode == 0
