"""A run resumed within an epoch ends like an uninterrupted one, for every method."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data
from cl_keras.runs import CheckpointCallback, Checkpoints, Position
from tests.conformance.descriptors import EVERY_METHOD, IMAGES, LABELS, OPTIONS, make
from tests.quick import slow_but

BATCH = 24
STEPS = IMAGES // BATCH


@pytest.fixture(scope="module")
def source():
    coarse = np.random.default_rng(0).integers(0, 256, [IMAGES, 4, 4, 1]).astype("float32")
    return data.load(tf.image.resize(coarse, [12, 12]).numpy().astype("uint8"), labels=LABELS)


class PowerCut(keras.callbacks.Callback):
    """Copies the files as they are after a step, without any notice to callbacks."""

    def __init__(self, files, copy, step):
        super().__init__()
        self._files, self._copy, self._step = files, copy, step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.step) == self._step:
            shutil.copytree(self._files, self._copy)


def state(model):
    metrics = [v for metric in model.metrics for v in metric.variables]
    return {
        f"{i}: {v.path}": v.numpy()
        for i, v in enumerate([*model.variables, *model.optimizer.variables, *metrics])
    }


def assert_same_state(model, expected):
    received = state(model)
    assert len(received) == len(expected)
    for (name, value), wanted in zip(received.items(), expected.values(), strict=True):
        np.testing.assert_array_equal(value, wanted, err_msg=name)


def without_graphs(name):
    """A method that runs eagerly, which is quicker for a dozen steps."""
    model = make(name)
    model.compile(model.optimizer, run_eagerly=True)
    return model


@pytest.mark.parametrize("name", slow_but(EVERY_METHOD, OPTIONS))
def test_a_run_resumes_in_the_middle_of_an_epoch_exactly(name, source, tmp_path):
    batches = source.batches(BATCH, seed=2)
    files, left = tmp_path / "whole", tmp_path / "left"
    whole = without_graphs(name)
    callbacks = [
        CheckpointCallback(Checkpoints(files), every_steps=1),
        PowerCut(files, left, STEPS + 1),
    ]
    expected = whole.fit(batches, epochs=2, verbose=0, callbacks=callbacks).history

    # Two batches of the second epoch are left, to a model that knows nothing but the checkpoint.
    resumed = without_graphs(name)
    position = Checkpoints(left).restore(resumed)
    assert position == Position(epoch=1, batch=1, step=STEPS + 1)
    received = resumed.fit(
        batches, epochs=2, initial_epoch=position.epoch, initial_batch=position.batch, verbose=0
    ).history
    assert received == {log: values[1:] for log, values in expected.items()}
    assert_same_state(resumed, state(whole))


def test_a_callback_that_does_not_resume_exactly_is_refused(source, tmp_path):
    callback = keras.callbacks.BackupAndRestore(str(tmp_path))
    with pytest.raises(ValueError, match="Use cl_keras.runs.Checkpoints"):
        without_graphs(next(iter(OPTIONS))).fit(source.batches(16), callbacks=callback)
