"""`fit` from the middle of an epoch: its callbacks, history and images."""

import keras
import pytest
import tensorflow as tf

from cl_keras import data
from tests.tiny import tiny_simclr

STEPS = 4
"""Of an epoch: 32 images in batches of 8."""


class Heard(keras.callbacks.Callback):
    """Records which hooks are called, and when."""

    def __init__(self):
        super().__init__()
        self.heard, self.indices = [], []

    def on_train_begin(self, logs=None):
        self.heard.append("train")

    def on_train_end(self, logs=None):
        self.heard.append("end")

    def on_epoch_begin(self, epoch, logs=None):
        self.heard.append(f"epoch {epoch}")

    def on_train_batch_begin(self, batch, logs=None):
        self.heard.append(f"begin {batch}")

    def on_train_batch_end(self, batch, logs=None):
        self.heard.append(f"batch {batch}")
        assert set(logs) == {"loss", "contrastive_accuracy"}


class HeardMore(Heard):
    def on_epoch_resumed(self, epoch, logs=None):
        self.heard.append(f"resumed {epoch}")


class Context(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.log = []

    def __enter__(self):
        self.log.append("in")

    def __exit__(self, *error):
        self.log.append("out")


def eager(per_execution=1):
    model = tiny_simclr()
    model.compile(model.optimizer, run_eagerly=True, steps_per_execution=per_execution)
    return model


def fit(model, images, **options):
    return model.fit(images, **({"batch_size": 8, "verbose": 0} | options)).history


@pytest.mark.parametrize("kind, begin", [(Heard, "epoch 1"), (HeardMore, "resumed 1")])
def test_callbacks_hear_only_of_the_steps_done_here(kind, begin, images):
    callback, model = kind(), eager()
    fit(model, images, epochs=3, initial_epoch=1, initial_batch=2, callbacks=[callback])
    first = [begin, "begin 2", "batch 2", "begin 3", "batch 3"]
    second = ["epoch 2", *(f"{what} {n}" for n in range(4) for what in ("begin", "batch"))]
    assert callback.heard == ["train", *first, *second, "end"]
    assert int(model.step) == 6
    fit(model, images)
    assert int(model.step) == 10, "afterwards all steps are done again"


@pytest.mark.parametrize("per_execution", [1, 2])
def test_the_logs_are_those_of_the_whole_epoch(per_execution, images):
    """With one model whose state is kept between the two, as by a checkpoint."""
    expected = fit(eager(per_execution), images, epochs=2)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.step) == STEPS + 2:
                raise InterruptedError

    model = eager(per_execution)
    with pytest.raises(InterruptedError):
        fit(model, images, epochs=2, callbacks=[Stop()])
    received = fit(model, images, epochs=2, initial_epoch=1, initial_batch=2)
    assert received == {log: values[1:] for log, values in expected.items()}


def seen_by(model):
    """Returns a list that collects the indices of every batch that the model trains on."""
    seen, step = [], model.train_step

    def recorded(data):
        seen.append(data["index"].numpy().tolist())
        return step(data)

    model.train_step = recorded
    return seen


@pytest.mark.parametrize("steps_per_epoch", [None, 3])
def test_the_remaining_images_are_those_of_an_uninterrupted_run(steps_per_epoch, images):
    options = {"epochs": 3, "steps_per_epoch": steps_per_epoch}
    whole, rest = eager(), eager()
    expected, received = seen_by(whole), seen_by(rest)
    fit(whole, images, **options)
    fit(rest, images, initial_epoch=1, initial_batch=2, **options)
    assert received == expected[(steps_per_epoch or STEPS) + 2 :]


def test_filtered_batches_are_resumed_too(images):
    def some(batch):
        return batch["index"][0] % 3 > 0

    batches = data.load(images).batches(8, seed=1).filter(some)
    assert batches.steps_per_epoch is None
    whole, rest = eager(), eager()
    expected, received = seen_by(whole), seen_by(rest)
    options = {"batch_size": None, "epochs": 3, "steps_per_epoch": 2}
    fit(whole, batches, **options)
    fit(rest, batches, initial_epoch=1, initial_batch=1, **options)
    assert len(expected) == 6 and all(index[0] % 3 for index in expected)
    assert received == expected[3:]


@pytest.mark.parametrize("endless", [False, True])
def test_a_plain_dataset_is_resumed_too(endless, images):
    dataset = tf.data.Dataset.from_tensor_slices({"image": images, "index": range(32)}).batch(8)
    model = eager()
    received = seen_by(model)
    options = {"batch_size": None, "epochs": 2, "initial_batch": 3}
    if endless:
        fit(model, dataset.repeat(), steps_per_epoch=4, **options)
    else:
        fit(model, dataset, **options)
    assert [index[0] for index in received] == [24, 0, 8, 16, 24]


@pytest.mark.parametrize(
    "batch, message",
    [
        (5, "initial_batch must be from 0 to 4; received 5"),
        (-1, "initial_batch must be from 0 to 4; received -1"),
    ],
)
def test_an_impossible_position_is_refused(batch, message, images):
    with pytest.raises(ValueError, match=message):
        fit(eager(), images, initial_batch=batch)


def test_an_epoch_of_unknown_length_has_no_middle(images):
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(8).repeat()
    with pytest.raises(ValueError, match="give steps_per_epoch"):
        fit(eager(), dataset, batch_size=None, initial_batch=1)


def test_context_manager_callbacks_exit_after_an_error(images):
    class Failing(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise InterruptedError

    context, model = Context(), eager()
    fit(model, images, callbacks=[context])
    assert context.log == ["in", "out"]
    with pytest.raises(InterruptedError):
        fit(model, images, callbacks=[context, Failing()])
    assert context.log == ["in", "out"] * 2
