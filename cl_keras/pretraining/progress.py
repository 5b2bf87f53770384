"""Progress of a run on one line, with its logs and the remaining time."""

import sys
import time
from typing import TextIO

import keras

from cl_keras.pretraining.plan import in_words

PARTS_OF_AN_EPOCH = 10
REFRESH_SECONDS = 0.5


class Progress(keras.callbacks.Callback):
    """Prints the progress of a whole run, instead of the progress bar of Keras for each epoch.

    On a terminal a single line is updated; elsewhere, e.g. in the log of a job, a line is printed
    every tenth of an epoch.

    Args:
        epochs: number of the last epoch.
        steps_per_epoch: steps of an epoch.
        stream: file to print to; default: None, the standard output.
    """

    def __init__(self, *, epochs: int, steps_per_epoch: int, stream: TextIO | None = None):
        super().__init__()
        self._epochs, self._steps = epochs, steps_per_epoch
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty()
        self._begin = self._shown = None
        self._part = -1

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._part = epoch, -1

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        done = self._epoch * self._steps + batch + 1
        if self._begin is None:  # not from the start, since the first step is mostly compilation
            self._begin = (now, done)
        if self._live:
            if self._shown is None or now - self._shown >= REFRESH_SECONDS:
                self._shown = now
                self._stream.write(f"\r{self._line(batch + 1, done, now, logs)}\x1b[K")
                self._stream.flush()
            return
        part = (batch + 1) * PARTS_OF_AN_EPOCH // self._steps
        if part > self._part and batch + 1 < self._steps:
            self._part = part
            print(self._line(batch + 1, done, now, logs), file=self._stream, flush=True)

    def on_epoch_end(self, epoch, logs=None):
        done = (epoch + 1) * self._steps
        line = self._line(self._steps, done, time.monotonic(), logs)
        ending = "\x1b[K" if self._live else ""
        print(f"{chr(13) if self._live else ''}{line}{ending}", file=self._stream, flush=True)

    def _line(self, step, done, now, logs):
        shown = ", ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        left = self._left(done, now)
        return (
            f"epoch {self._epoch + 1}/{self._epochs}, step {step}/{self._steps}"
            f"{f', {shown}' if shown else ''}{f', {left} left' if left else ''}"
        )

    def _left(self, done, now):
        if self._begin is None or done <= self._begin[1]:
            return None
        pace = (now - self._begin[0]) / (done - self._begin[1])
        steps = self._epochs * self._steps - done
        return in_words(pace * steps) if steps > 0 else None
