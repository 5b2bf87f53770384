"""Lets threads work one after the other while that is faster than all at once.

Python runs one thread at a time. Threads whose work is a series of short calls, such as reading and
decoding tiny files, pass the interpreter on at each of these calls, which costs as much as the work
itself. They gain from each other only if they wait for a disk, or spend long in a decoder.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Iterator

PATIENCE = 0.05  # seconds of waiting or long work, before threads work all at once
SHORT = 150e-6  # seconds of CPU time for an item


class Turns:
    """Threads take turns as long as their work is short and hardly waits."""

    def __init__(self):
        self._wall = self._cpu = 0.0
        self._items = 0

    @property
    def all_at_once(self) -> bool:
        """Whether threads no longer take turns."""
        waits = self._wall > 2 * self._cpu + PATIENCE
        return waits or self._cpu > SHORT * self._items + PATIENCE

    @contextlib.contextmanager
    def one(self, items: int) -> Iterator[None]:
        """A context manager for a part of the work of one thread.

        Args:
            items: number of files in it.
        """
        if self.all_at_once:
            yield
            return
        with _lock(os.getpid()):
            begin, cpu_begin = time.perf_counter(), time.thread_time()
            yield
            self._wall += time.perf_counter() - begin
            self._cpu += time.thread_time() - cpu_begin
            self._items += items


@functools.lru_cache(maxsize=1)  # by process: a thread of the parent may hold it during a fork
def _lock(pid):
    return threading.Lock()
