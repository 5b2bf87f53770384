import os
import subprocess
import sys
import textwrap
import threading
import types

import pytest

from cl_keras import locks
from cl_keras.locks import Locked, locked


@pytest.fixture(params=["fcntl", "msvcrt"])
def platform(request, monkeypatch):
    """Imitates Windows: no fcntl, and a msvcrt that locks like the real one."""
    if request.param == "msvcrt":
        fcntl = locks.fcntl

        def locking(descriptor, mode, length):
            assert (mode, length) == (2, 1)
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length)

        monkeypatch.setattr(locks, "fcntl", None)
        monkeypatch.setattr(locks, "msvcrt", types.SimpleNamespace(LK_NBLCK=2, locking=locking))
    return request.param


HOLD = """
    import sys, time
    {imitation}
    from cl_keras.locks import locked
    with locked(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.read()
"""
WINDOWS = """
    from cl_keras import locks
    import fcntl, types
    def locking(descriptor, mode, length):
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length)
    locks.fcntl, locks.msvcrt = None, types.SimpleNamespace(LK_NBLCK=2, locking=locking)
"""


@pytest.fixture
def holder(platform, tmp_path):
    """Another process that holds the lock."""
    imitation = WINDOWS if platform == "msvcrt" else ""
    script = textwrap.dedent(HOLD).format(imitation=textwrap.dedent(imitation))
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    # As the command line, which imports no TensorFlow before it must.
    script = "import sys; sys.argv[0] = 'cl-keras'\n" + script
    command[2] = script
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_another_process_is_kept_out_until_it_is_killed(holder, tmp_path):
    with pytest.raises(Locked, match="Another process holds the lock"):
        with locked(tmp_path / "lock", wait=False):
            pass
    waited = []

    def end():
        waited.append(True)
        threading.Timer(0.2, holder.kill).start()

    with locked(tmp_path / "lock", on_wait=end):
        assert waited == [True]


def test_a_released_lock_can_be_taken_again(platform, tmp_path):
    for _ in range(3):
        with locked(tmp_path / "lock", wait=False, on_wait=pytest.fail):
            pass
    assert (tmp_path / "lock").read_bytes() == b""


def test_an_error_releases_the_lock(platform, tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "lock"):
        raise KeyError
    with locked(tmp_path / "lock", wait=False):
        pass


def test_a_link_or_a_pipe_is_refused_and_nothing_is_emptied(tmp_path):
    (tmp_path / "thesis").write_text("years of work")
    os.symlink(tmp_path / "thesis", tmp_path / "link")
    os.link(tmp_path / "thesis", tmp_path / "hard")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(OSError, match=f"Cannot lock.*{name}"), locked(tmp_path / name):
            pass
    with locked(tmp_path / "hard"):
        pass
    assert (tmp_path / "thesis").read_text() == "years of work"


def test_everything_is_imported_without_fcntl():
    script = (
        "import sys; sys.modules['fcntl'] = None; import cl_keras.locks as l; assert not l.fcntl"
    )
    subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'cl-keras'\n" + script], check=True
    )
