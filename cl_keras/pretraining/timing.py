"""Estimates how long the parts of a run take on this machine, by brief trials."""

import dataclasses
import math
import time
from typing import Any

import keras
import numpy as np

from cl_keras import evaluation
from cl_keras.callbacks import vitals
from cl_keras.callbacks.health import IMAGES
from cl_keras.data import Source
from cl_keras.evaluation.features import encode_function
from cl_keras.evaluation.few_labels import curve_totals
from cl_keras.evaluation.labeled import labeled_pair
from cl_keras.evaluation.linear import ROWS, operations, predict_classes
from cl_keras.evaluation.table import MAX_PASSES, TRIALS
from cl_keras.pretraining.machine import this_machine

MEASURED_SECONDS = 3.0
MAX_MEASURED_STEPS = 64
SAMPLE = 512
"""Number of images to encode for an estimate."""

HEALTH_SHARE = 1.02
"""Factor for the two percent of the time that `callbacks.Health` takes."""

REPORT_SECONDS = 4.0
CLASSES, MEASURED_PASSES, REPEATS = 10, 30, 3  # of the probe that is measured
FEW_PASSES = 100  # that a probe takes on few labels
ENCODERS = 4  # rows of a table: pixels, PCA, the untrained encoder and the learned one


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a run take.

    Attributes:
        once: from the start of the command to the first step.
        step: a training step.
        epoch: between two epochs, for logs, a checkpoint and the first images; default: 0.
        monitor: a computation of the k-NN accuracy; default: 0.
        judging: the evaluation and report after the last epoch; default: 0.
    """

    once: float
    step: float
    epoch: float = 0.0
    monitor: float = 0.0
    judging: float = 0.0

    def total(self, epochs: int, steps: int, evaluations: int = 0) -> float:
        """Seconds of the whole command.

        Args:
            epochs: number of epochs.
            steps: number of steps of an epoch.
            evaluations: number of computations of the k-NN accuracy; default: 0.
        """
        training = epochs * (steps * self.step + self.epoch) + evaluations * self.monitor
        return self.once + HEALTH_SHARE * training + self.judging

    def epochs_within(self, minutes: float, steps: int, evaluations: int = 0) -> int:
        """How many epochs fit if the whole command takes that many minutes; at least one.

        Training gets at least half of the minutes, even if the rest then takes longer.
        """
        left = max(30 * minutes, 60 * minutes - self.total(0, steps, evaluations))
        return max(1, int(left / (HEALTH_SHARE * (steps * self.step + self.epoch))))


class _Marks(keras.callbacks.Callback):
    """Records the times at which epochs begin and end, and executions end."""

    def __init__(self):
        super().__init__()
        self.begins, self.ends, self.executions = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.begins.append(time.perf_counter())
        self.executions.append([])

    def on_train_batch_end(self, batch, logs=None):
        self.executions[-1].append(time.perf_counter())

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(time.perf_counter())


def of_training(
    model: keras.Model, batches: Any, callbacks: list, seconds: float = MEASURED_SECONDS
) -> tuple[float, float, float]:
    """Trains a model briefly.

    Args:
        model: a compiled method, whose weights change.
        batches: `data.Batches` to train on.
        callbacks: callbacks of the run.
        seconds: approximate duration after the first step; default: 3.

    Returns:
        Seconds to the end of the first step, mostly compilation; of a step; and between two epochs.
    """
    stride = model.steps_per_execution
    begin = time.perf_counter()
    first = _fit(model, batches, callbacks, 3 * stride, 1).executions[0]
    startup = first[0] - begin
    guess = (first[-1] - first[0]) / max(1, len(first) - 1) / stride
    most = min(batches.steps_per_epoch, MAX_MEASURED_STEPS)
    steps = min(most, max(2 * stride, int(seconds / 2 / max(guess, 1e-4))))
    marks = _fit(model, batches, callbacks, steps, 2)
    gaps = [np.diff(times) for times in marks.executions if len(times) > 1]
    if not gaps:  # an epoch of one execution
        second = marks.executions[1][0]
        return startup, (second - marks.begins[1]) / steps, marks.ends[1] - second
    step = float(np.concatenate(gaps).mean()) / stride
    within = marks.executions[1][-1] - marks.executions[1][0]
    between = marks.ends[1] - marks.begins[1] - within
    return startup, step, max(0.0, between - stride * step)


def _fit(model, batches, callbacks, steps, epochs):
    marks = _Marks()
    steps = min(steps, batches.steps_per_epoch)
    model.fit(
        batches, steps_per_epoch=steps, epochs=epochs, callbacks=[*callbacks, marks], verbose=0
    )
    return marks


def of_encoding(encoder: keras.Model, source: Source) -> tuple[float, float]:
    """Seconds of the first images, during which the encoder is traced, and of each later image."""
    encode = encode_function(encoder)
    images = source.batches(256, shuffle=False).take(max(1, SAMPLE // 256))
    begin = time.perf_counter()
    evaluation.features(encode, images, progress=False)
    traced = time.perf_counter()
    rows = len(evaluation.features(encode, images, progress=False))
    return traced - begin, (time.perf_counter() - traced) / rows


def of_health(model: keras.Model, source: Source) -> float:
    """Seconds of the first three checks of `callbacks.Health`."""
    images = source.images(np.arange(min(len(source), IMAGES)))
    begin = time.perf_counter()
    vitals.measure_views(model, images, 0)
    traced = time.perf_counter()
    vitals.measure_views(model, images, 2)
    return traced - begin + 2 * (time.perf_counter() - traced)


def of_neighbors(width: int) -> float:
    """Seconds per pair of a row and a query in a search for neighbors."""
    vectors = np.random.default_rng(0).standard_normal([2048, width]).astype(np.float32)
    evaluation.neighbors(vectors, vectors[:256], k=20)  # traces
    begin = time.perf_counter()
    evaluation.neighbors(vectors, vectors[:256], k=20)
    return (time.perf_counter() - begin) / (2048 * 256)


def of_probe() -> tuple[float, float]:
    """Seconds of a pass of a small linear probe, and of an operation of `linear.operations`."""
    each, _ = _seconds_of_fit(64, 64)
    large, passes = _seconds_of_fit(2048, 512)
    return each, max(0.0, large - each) * passes / operations(2048, 512, CLASSES, passes)


def _seconds_of_fit(rows, width):
    """Median seconds of a pass of a linear probe on random features, and the number of passes."""
    vectors = np.random.default_rng(0).standard_normal([rows, width]).astype(np.float32)
    features = evaluation.Features(vectors, np.arange(rows) % CLASSES)
    pair = labeled_pair(features, features)
    found = []
    for _ in range(1 + REPEATS):  # the first is slower
        begin = time.perf_counter()
        passes = predict_classes(pair, epochs=MEASURED_PASSES)[1].nfev
        found.append((time.perf_counter() - begin) / passes)
    return float(np.median(found[1:])), passes


def of_judging(encoding: tuple[float, float], width: int, train: Source, test: Source) -> float:
    """Expected seconds of `judgment.judge`.

    Args:
        encoding: result of `of_encoding`.
        width: width of the embedding.
        train: images of the bank.
        test: images to classify.
    """
    traced, each = encoding
    images = len(train) + 2 * len(test)
    seconds = 2 * traced + ENCODERS * images * each + REPORT_SECONDS
    if not (train.has_labels and test.has_labels):
        return seconds
    height, side, channels = train.image_shape
    widths = [min(height, 64) * min(side, 64) * channels, 128, width, width]
    classes = max(2, len(np.unique(np.asarray(train.labels))))
    cores = this_machine().cores
    shares = [math.ceil(len(train) * share) for share in (0.1, 0.01)]
    fits = [(rows, FEW_PASSES) for rows in shares + curve_totals(len(train), classes)] * TRIALS
    fits.append((len(train), MAX_PASSES))
    of_pass, of_operation = of_probe()
    for one in widths:
        # Both k-NN metrics and the search for near-duplicates.
        seconds += 2 * len(train) * len(test) * of_neighbors(one)
        for rows, passes in fits:
            work = of_operation * operations(rows, one, classes, passes)
            # Large fits use all cores.
            seconds += passes * of_pass + (work / cores if rows > ROWS else work)
    return seconds
