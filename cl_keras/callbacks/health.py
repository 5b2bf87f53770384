"""A callback that monitors the health of training and recommends remedies."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras import distribute
from cl_keras.callbacks import diagnosis, vitals
from cl_keras.files import write_atomically

FIRST_CHECKS = (20, 100, 160)
"""Steps of the first checks; later ones are made if they cost less than `MAX_SHARE`."""

MAX_SHARE = 0.02
"""Maximum share of the training time for checks, except for the first ones."""

IMAGES = 64
"""Number of images that are embedded in a check."""


class Health(keras.callbacks.Callback):
    """Checks the embeddings regularly, and reports problems.

    It monitors the effective rank, alignment and uniformity of the embeddings, the similarities of
    positives and negatives, the use of prototypes, the age of a queue, the loss between its floor
    and its ceiling log K, the norm of the gradient, and how fast the weights change. It reports
    each problem once, in a sentence with a remedy. Training is not affected: everything runs in
    inference mode, and uses no random state. Apart from the first three checks, it takes at most
    2 % of the time.

    Args:
        images: the training images, a source or uint8 `[n, h, w, c]`, of which 64 are embedded;
            default: None, only settings and weights are checked.
        folder: folder of a run, for `health.json` and scalars for TensorBoard; default: None,
            nothing is written.
        say: function that reports a sentence; default: `print`.

    Attributes:
        findings: list of `diagnosis.Finding`, all problems so far.
        history: list of `vitals.Vitals`.
    """

    def __init__(
        self,
        images: Any = None,
        folder: str | pathlib.Path | None = None,
        say: Callable[[str], Any] = print,
    ):
        super().__init__()
        self.findings: list[diagnosis.Finding] = []
        self.history: list[vitals.Vitals] = []
        self._num_images = None if images is None else len(images)
        self._images = None if images is None else evenly_spread(images, IMAGES)[1]
        self._folder = None if folder is None else pathlib.Path(folder)
        self._say, self._writer = say, None

    def on_train_begin(self, logs=None):
        self._first = self._done = int(self.model.step.numpy())
        self._begin, self._spent = time.perf_counter(), 0.0
        self._weights = vitals.Weights(self.model)
        self._resume()
        self._report(diagnosis.of_settings(self.model, self._num_images))

    def on_epoch_begin(self, epoch, logs=None):
        self._done = int(self.model.step.numpy())  # the last execution of an epoch may be shorter

    def on_train_batch_end(self, batch, logs=None):
        stride = self.model.steps_per_execution
        self._done += stride
        step = self._done - self._first
        if self._is_due(step):
            self._check(logs or {})
        if self._is_due(step + stride):
            self._weights.remember()

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _is_due(self, step):
        stride = self.model.steps_per_execution
        if any(first <= step < first + stride for first in FIRST_CHECKS):
            return True
        if step < FIRST_CHECKS[-1] or step % (50 * stride):
            return False
        return self._spent < MAX_SHARE * (time.perf_counter() - self._begin)

    def _check(self, logs):
        begin = time.perf_counter()
        steps = self.params.get("steps")
        batch = self._num_images / steps if self._num_images and steps else None
        found = {} if self._images is None else self._measure_views()
        found |= self._weights.measure() | vitals.loss_range(self.model, batch)
        found["gradient_norm"] = self.model.last_gradient_norm.value()
        if batch and (queue := max((q.size for q in vitals.queues(self.model)), default=0)):
            found |= {
                "queue_age": queue / batch,
                "self_hits": max(0.0, 1 - self._num_images / queue),
            }
        if np.isfinite(logs.get("loss", np.nan)):
            found["loss"] = float(logs["loss"])
        self.history.append(vitals.Vitals(self._done, **found))
        self._report(diagnosis.of_vitals(self.history, self._first))
        self._write()
        self._spent += time.perf_counter() - begin

    def _measure_views(self):
        return vitals.measure_views(self.model, self._images, self._done)

    def _report(self, found):
        known = {finding.name for finding in self.findings}
        for finding in found:
            if finding.name not in known:
                self.findings.append(finding)
                if distribute.is_chief():
                    self._say(f"\nHealth: {finding.sentence}")

    # Files.

    @property
    def _path(self):
        return self._folder / "health.json"

    def _resume(self):
        """Reads the findings and history of an earlier process of the run, up to this step."""
        if self._folder is None or self._first == 0 or not self._path.is_file():
            return
        earlier = read(self._path)
        self.findings = [diagnosis.Finding(**one) for one in earlier["findings"]]
        self._earlier = [one for one in earlier["history"] if one["step"] <= self._first]

    _earlier = ()

    def _write(self):
        if self._folder is None or not distribute.is_chief():
            return
        measured = [{"step": one.step, **one.known()} for one in self.history]
        content = {
            "findings": [dataclasses.asdict(one) for one in self.findings],
            "history": [*self._earlier, *measured],
        }
        write_atomically(self._path, json.dumps(content, indent=1) + "\n")
        if self._writer is None:
            folder = self._folder / "tensorboard" / "health"
            self._writer = tf.summary.create_file_writer(str(folder))
        with self._writer.as_default(step=self.history[-1].step):
            for name, value in self.history[-1].known().items():
                tf.summary.scalar(f"health/{name}", value)
            for finding in self.findings:
                tf.summary.text("health/findings", finding.sentence)


def read(path: str | pathlib.Path) -> dict:
    """The content of `health.json`, {"findings": list, "history": list}; empty without it."""
    path = pathlib.Path(path)
    if not path.is_file():
        return {"findings": [], "history": []}
    return json.loads(path.read_text("utf-8"))


def evenly_spread(images: Any, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Some images, evenly spaced.

    Args:
        images: a source or uint8 `[n, h, w, c]`.
        most: maximum number of images.

    Returns:
        Their indices and their pixels.
    """
    rows = np.unique(np.linspace(0, len(images) - 1, min(len(images), most)).astype(int))
    return rows, images.images(rows) if hasattr(images, "images") else np.asarray(images)[rows]
