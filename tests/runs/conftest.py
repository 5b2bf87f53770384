"""Shared by the tests of runs."""

import contextlib
import resource
import signal

import pytest


@pytest.fixture
def full_disk():
    """A context in which writes fail, as on a full disk, by a limit on the size of files."""

    @contextlib.contextmanager
    def limited():
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)

    return limited()
