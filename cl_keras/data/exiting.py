"""Lets reads that TensorFlow has begun finish before the interpreter exits.

TensorFlow reads ahead in its own threads. If an iterator is only partly read, such a thread may ask
for the interpreter while it shuts down; Python then ends the thread in the middle of the call, and
whatever destroys the iterator waits for it forever.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time

QUIET = 0.1  # seconds without a read after which all buffers are taken to be full
MAX_WAIT = 10.0  # seconds


class Reads:
    """Counts the reads in progress."""

    def __init__(self):
        self.exiting = False
        self._lock = threading.Lock()
        self._running, self._last = 0, -QUIET

    @contextlib.contextmanager
    def one(self):
        """A context manager for one read."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                self._last = time.monotonic()

    def wait(self):
        """Returns when no read has run for a moment; from then on, reads return nothing."""
        self.exiting = True
        if self._last < 0 and not self._running:
            return
        until = time.monotonic() + MAX_WAIT
        self._last = time.monotonic()
        while time.monotonic() < until:
            if not self._running and time.monotonic() - self._last > QUIET:
                return
            time.sleep(QUIET / 10)


READS = Reads()
atexit.register(READS.wait)
