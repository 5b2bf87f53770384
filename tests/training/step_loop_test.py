"""Steps and callbacks when executions do not divide an epoch evenly."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data
from cl_keras.methods import SimCLR
from tests.tiny import VIEWS, tiny_encoder, tiny_simclr

STEPS = 5
"""Of an epoch: 20 images in batches of 4."""


@pytest.fixture
def batches(images):
    return data.load(images[:20]).batches(4, seed=1)


def compiled(per_execution, **options):
    model = tiny_simclr()
    options = {"steps_per_execution": per_execution} | options
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), **options)
    return model


class Heard(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.train, self.test = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.train.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.train.append(batch)

    def on_test_batch_begin(self, batch, logs=None):
        self.test.append(batch)

    def on_test_batch_end(self, batch, logs=None):
        self.test.append(batch)


def test_the_last_execution_of_an_epoch_has_the_remaining_steps(batches, images, float64):
    """Steps, weights, logs and validation are those of one step per execution."""
    outcomes, heard = [], Heard()
    for per_execution, callback in ((1, Heard()), (3, heard)):
        model = compiled(per_execution)
        history = model.fit(
            batches, epochs=2, validation_data=images[:20], verbose=0, callbacks=callback
        ).history
        assert int(model.step) == 2 * STEPS
        evaluated = model.evaluate(batches, return_dict=True, verbose=0)
        outcomes.append([*model.get_weights(), *history.values(), *evaluated.values()])
    for received, expected in zip(*outcomes, strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-12)
    assert heard.train == [0, 2, 3, 4] * 2


def test_evaluation_takes_each_batch_once(batches):
    heard, several = Heard(), compiled(8)
    expected = compiled(1).evaluate(batches, return_dict=True, verbose=0)
    received = several.evaluate(batches, return_dict=True, verbose=0, callbacks=[heard])
    assert received == pytest.approx(expected, rel=1e-6)
    assert heard.test == [0, 4]


def test_a_dataset_without_a_length_needs_one(images):
    dataset = tf.data.Dataset.from_tensor_slices(images[:12]).filter(lambda x: True).batch(4)
    with pytest.raises(ValueError, match="steps_per_execution=2 needs to know the number of"):
        compiled(2).fit(dataset, verbose=0)
    model = compiled(2, run_eagerly=True)
    model.fit(dataset.repeat(), steps_per_epoch=3, verbose=0)
    assert int(model.step) == 3


def test_training_resumes_within_an_execution(batches):
    """The checkpoint may come from a machine with shorter executions."""
    whole, rest = (compiled(n, run_eagerly=True) for n in (1, 4))
    heard = Heard()
    whole.fit(batches, epochs=1, steps_per_epoch=3, verbose=0)
    rest.set_weights(whole.get_weights())
    rest.fit(batches, epochs=1, initial_batch=3, verbose=0, callbacks=[heard])
    assert int(rest.step) == STEPS and heard.train == [3, 3, 4, 4]


def test_several_steps_per_execution_are_the_default_on_a_gpu(monkeypatch, batches, images):
    assert tiny_simclr().steps_per_execution == 1
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    model = compiled(None, run_eagerly=True)
    assert model.steps_per_execution == 8
    model.fit(batches, verbose=0)
    assert int(model.step) == STEPS
    unknown = tf.data.Dataset.from_tensor_slices(images[:8]).filter(lambda x: True).batch(4)
    model.fit(unknown.apply(tf.data.experimental.assert_cardinality(2)), verbose=0)
    assert int(model.step) == STEPS + 2


def test_an_encoder_created_outside_the_scope_is_refused(mirrored):
    encoder = tiny_encoder()
    with mirrored.scope():
        with pytest.raises(ValueError, match="outside the scope of MirroredStrategy") as error:
            SimCLR(encoder, views=VIEWS, temperature=0.2)
        assert len(str(error.value)) < 300
        model = SimCLR(tiny_encoder(), views=VIEWS, temperature=0.2)
        with pytest.raises(ValueError, match="one replica; the strategy has 2"):
            model.compile("sgd", jit_compile=True)
