import numpy as np
import pytest

from cl_keras import data
from cl_keras.evaluation.linear import operations
from cl_keras.pretraining import timing
from cl_keras.pretraining.timing import Costs
from tests.tiny import tiny_encoder, tiny_simclr


def test_the_parts_of_a_run_add_up_to_the_whole_command():
    costs = Costs(once=10.0, step=0.5, epoch=1.0, monitor=2.0, judging=20.0)
    # 4 epochs of 6 steps and two measurements, two percent for the doctor.
    assert costs.total(4, 6, 2) == pytest.approx(10 + 1.02 * (4 * (3 + 1) + 2 * 2) + 20)
    assert costs.total(0, 6) == 30


def test_as_many_epochs_as_fit_are_chosen():
    costs = Costs(once=10.0, step=0.5, epoch=1.0, monitor=2.0, judging=20.0)
    epochs = costs.epochs_within(1.5, 6, 3)
    assert costs.total(epochs, 6, 3) <= 90 < costs.total(epochs + 1, 6, 3)
    assert costs.epochs_within(0.01, 6, 3) == 1
    # The rest alone takes 33 s: of 48 s, 24 s are for training.
    assert costs.epochs_within(0.8, 6, 3) == int(24 / (1.02 * 4))


def test_what_is_measured_is_what_a_clock_would_show(images, monkeypatch):
    """On a clock that advances by one per reading, a step takes a second, an epoch three."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(ticks)))
    batches = data.load(images).batches(4, seed=0)
    startup, step, epoch = timing.of_training(tiny_simclr(), batches, [], seconds=6.0)
    # Looks: before fit, at the beginning of the epoch, and after the first step.
    assert (startup, step) == (2.0, 1.0)
    # From the beginning of an epoch to its end there are three looks more than steps: one of them
    # is the first step, which is left out.
    assert epoch == pytest.approx(1.0)


def test_an_evaluation_of_more_images_takes_longer():
    images = np.zeros([80, 12, 12, 1], "uint8")
    few = data.load(images[:40], labels=np.arange(40) % 2)
    many = data.load(images, labels=np.arange(80) % 2)
    encoding = timing.of_encoding(tiny_encoder(), many)
    assert all(seconds > 0 for seconds in encoding)
    bare = timing.of_judging((1.0, 0.5), 16, data.load(images[:40]), data.load(images[:40]))
    assert bare == 2 * 1.0 + 4 * (40 + 80) * 0.5 + timing.REPORT_SECONDS
    assert timing.of_judging((1.0, 0.5), 16, many, few) > timing.of_judging(
        (1.0, 0.5), 16, few, few
    )


def test_a_probe_is_measured_by_the_pass_and_by_the_operation(monkeypatch):
    """On a clock that moves as the operations of a fit, and by 5 for each pass."""
    now = [0.0]
    fit = timing.predict_classes

    def timed(pair, epochs):
        predicted, minimum = fit(pair, epochs=epochs)
        rows, width = pair.train.shape
        now[0] += 5 * minimum.nfev + 2 * operations(rows, width, timing.CLASSES, minimum.nfev)
        return predicted, minimum

    monkeypatch.setattr(timing, "predict_classes", timed)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    _, of_operation = timing.of_probe()
    assert of_operation == pytest.approx(2, rel=0.1)


def test_operations_of_a_probe_are_those_of_its_products():
    # Not preconditioned: in each pass, logits and gradient.
    assert operations(2048, 512, 10, 7) == 7 * 2 * (2 * 2048 * 512 * 10)
    # Preconditioned in the 64 dimensions that the rows span.
    begin = 2 * (2 * 64 * 512 * 64) + 12 * 64**3
    assert operations(64, 512, 10, 7) == begin + 7 * 2 * (2 * 64 * 64 * 10)
