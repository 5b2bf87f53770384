import os
import signal
import subprocess
import sys
import threading

import pytest

from cl_keras.stopping import Preempted, StopRequest


def send(number):
    os.kill(os.getpid(), number)


@pytest.fixture
def handlers():
    """The test's own handlers for both signals; the previous ones are restored afterwards."""
    heard = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [
        signal.signal(number, lambda number, frame: heard.append(number)) for number in numbers
    ]
    yield heard
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number, error", [(15, Preempted), (2, KeyboardInterrupt)])
def test_a_signal_is_noted_and_answered_when_asked(number, error, handlers):
    with StopRequest() as stop:
        stop.answer()
        send(number)
        assert stop.received == number
        with pytest.raises(error):
            stop.answer()
    assert not handlers


def test_the_handlers_are_restored_afterwards(handlers):
    with pytest.raises(ValueError), StopRequest():
        raise ValueError
    send(signal.SIGTERM)
    send(signal.SIGINT)
    assert handlers == [signal.SIGTERM, signal.SIGINT]


def test_a_second_ctrl_c_does_not_wait(handlers):
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        send(signal.SIGINT)
        assert stop.received == signal.SIGINT
        send(signal.SIGINT)


def test_an_ignored_signal_stays_ignored(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with StopRequest() as stop:
        send(signal.SIGINT)
        assert stop.received is None
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_changes_nothing(handlers):
    inside = []

    def run():
        with StopRequest():
            inside.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert inside == [before]


def test_stopping_has_its_own_exit_code():
    assert issubclass(Preempted, SystemExit) and Preempted().code == os.EX_TEMPFAIL == 75


@pytest.mark.parametrize("number, error", [(15, Preempted), (2, KeyboardInterrupt)])
def test_without_anything_to_save_it_ends_at_once(number, error, handlers):
    with pytest.raises(error), StopRequest(at_once=True):
        send(number)
    assert not handlers


def test_the_innermost_request_answers(handlers):
    with StopRequest(at_once=True):
        with StopRequest() as inner:
            send(signal.SIGTERM)
            assert inner.received == signal.SIGTERM
        with pytest.raises(Preempted):
            send(signal.SIGTERM)


SLOW_COMMAND = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
sys.argv[0] = "cl-keras"
from cl_keras.cli import main
def work(*options):
    print("working", flush=True)
    time.sleep(60)
command = types.SimpleNamespace(main=work)
main.importlib = types.SimpleNamespace(import_module=lambda name: command)
sys.exit(main.main(["pretrain", "--data=folder:photos", "--run=run"]))
"""


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_command_that_trains_nothing_yet_answers_at_once(number, code):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_COMMAND], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"working\n"
        process.send_signal(number)
        _, words = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert words.startswith(b"cl-keras pretrain: stopped") and words.count(b"\n") == 1
