import os
import signal

import keras
import pytest
import tensorflow as tf

from cl_keras import distribute
from cl_keras.runs import CheckpointCallback, Checkpoints, Preempted, checkpoint_callback
from tests.tiny import tiny_simclr

STEPS = 4
"""Of an epoch: 32 images in batches of 8."""


class Recorded(Checkpoints):
    """Records where a checkpoint would be saved, instead of saving it."""

    def __init__(self, folder):
        super().__init__(folder)
        self.saved = []

    def save(self, model, epoch, batch=0, logs=None):
        self.saved.append((epoch, batch))


class Do(keras.callbacks.Callback):
    """Calls a function at one step of the model."""

    def __init__(self, step, function):
        super().__init__()
        self._step, self._function = step, function

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.step) == self._step:
            self._function()


def fit(images, model, *callbacks, epochs=2):
    options = {"epochs": epochs, "verbose": 0, "callbacks": list(callbacks)}
    return model.fit(images, batch_size=8, **options)


@pytest.fixture(scope="module")
def model():
    model = tiny_simclr()
    model.compile(model.optimizer, run_eagerly=True)
    return model


@pytest.fixture
def checkpoints(tmp_path, model):
    model.step.assign(0)
    return Recorded(tmp_path)


@pytest.mark.parametrize(
    "every, expected",
    [
        (None, [(1, 0), (2, 0)]),
        (1, [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0)]),
        (2, [(0, 2), (1, 0), (1, 2), (2, 0)]),
        (3, [(0, 3), (1, 0), (1, 3), (2, 0)]),
        (9, [(1, 0), (2, 0)]),
    ],
)
def test_it_saves_every_few_steps_and_after_every_epoch(
    every, expected, images, model, checkpoints
):
    fit(images, model, CheckpointCallback(checkpoints, every_steps=every))
    assert checkpoints.saved == expected


def test_several_steps_per_execution_do_not_delay_a_checkpoint(images, checkpoints):
    model = tiny_simclr()
    model.compile(model.optimizer, run_eagerly=True, steps_per_execution=2)
    fit(images, model, CheckpointCallback(checkpoints, every_steps=3), epochs=1)
    assert checkpoints.saved == [(0, 2), (1, 0)]


def test_a_long_epoch_is_saved_by_the_clock(images, model, checkpoints, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint_callback.time, "monotonic", lambda: now[0])

    def wait():
        now[0] += 601

    fit(images, model, Do(3, wait), CheckpointCallback(checkpoints))
    assert checkpoints.saved == [(0, 3), (1, 0), (2, 0)]


def test_an_interval_below_one_step_is_refused(checkpoints):
    with pytest.raises(ValueError, match="received 0"):
        CheckpointCallback(checkpoints, every_steps=0)


@pytest.fixture
def interruptible():
    """Restores Ctrl-C, which shells disable for programs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def kill(number):
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number, error", [(15, Preempted), (2, KeyboardInterrupt)])
@pytest.mark.parametrize("step, saved", [(2, [(0, 2)]), (4, [(0, 4)]), (5, [(1, 0), (1, 1)])])
def test_a_signal_saves_and_ends(
    number, error, step, saved, images, model, checkpoints, interruptible
):
    """Also after the last step of an epoch, before the callbacks at its end."""
    before = signal.getsignal(number)
    with pytest.raises(error):
        fit(images, model, Do(step, kill(number)), CheckpointCallback(checkpoints))
    assert checkpoints.saved == saved and int(model.step) == step
    assert signal.getsignal(number) is before


def test_an_epoch_that_was_stopped_at_its_last_step_still_ends(images, tmp_path):
    checkpoints, model = Checkpoints(tmp_path), tiny_simclr()
    expected = fit(images, tiny_simclr(), epochs=1).history
    with pytest.raises(Preempted):
        fit(images, model, Do(STEPS, kill(15)), CheckpointCallback(checkpoints), epochs=1)
    again = tiny_simclr()
    position = checkpoints.restore(again)
    assert (position.epoch, position.batch, position.step) == (0, STEPS, STEPS)
    options = {"initial_epoch": 0, "initial_batch": STEPS, "epochs": 1, "verbose": 0}
    callback = CheckpointCallback(checkpoints)
    history = again.fit(images, batch_size=8, callbacks=[callback], **options).history
    assert history == expected and int(again.step) == STEPS
    assert checkpoints.list()[-1]["logs"] == {k: v[0] for k, v in expected.items()}


def test_only_the_first_worker_saves(images, model, checkpoints, monkeypatch):
    monkeypatch.setattr(distribute, "is_chief", lambda: False)
    fit(images, model, Do(2, kill(15)), CheckpointCallback(checkpoints, every_steps=1))
    assert checkpoints.saved == [] and int(model.step) == 2 * STEPS


def lose_a_worker():
    raise tf.errors.UnavailableError(None, None, "Connection reset by peer")


def test_a_lost_worker_is_reported(images, model, checkpoints, monkeypatch):
    monkeypatch.setattr(distribute, "num_workers", lambda: 2)
    message = "Another worker of this run has ended. Restart all workers .* from the beginning"
    with pytest.raises(OSError, match=message):
        fit(images, model, CheckpointCallback(checkpoints), Do(2, lose_a_worker))


def test_a_lost_worker_after_sigterm_is_the_answer_to_it(images, model, checkpoints, monkeypatch):
    monkeypatch.setattr(distribute, "num_workers", lambda: 2)
    monkeypatch.setattr(distribute, "is_chief", lambda: False)
    callbacks = [CheckpointCallback(checkpoints), Do(1, kill(15)), Do(2, lose_a_worker)]
    with pytest.raises(Preempted):
        fit(images, model, *callbacks)


def test_an_error_of_a_single_worker_is_not_changed(images, model, checkpoints):
    with pytest.raises(tf.errors.UnavailableError):
        fit(images, model, CheckpointCallback(checkpoints), Do(2, lose_a_worker))
