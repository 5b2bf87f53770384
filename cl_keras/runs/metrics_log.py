"""A table of the metrics of every epoch, which a resumed run continues."""

from __future__ import annotations

import csv
import io
import math
import os
import pathlib
import time

import keras
from absl import logging

from cl_keras.files import write_atomically


def read_metrics(path: str | os.PathLike) -> dict[str, list[float | None]]:
    """The table as a dictionary of columns: lists of floats, with None for empty cells.

    Args:
        path: path of a `metrics.csv`; a missing file gives an empty dictionary.

    Raises:
        ValueError: if it is damaged.
        OSError: if it cannot be read.
    """
    try:
        text = pathlib.Path(path).read_text("utf-8")
        reader = csv.DictReader(io.StringIO(text), strict=True)
        columns, rows = reader.fieldnames or [], list(reader)
        if text and not (text.endswith("\n") and {"epoch", "step"} <= set(columns)):
            raise ValueError("it is cut off, or has no columns 'epoch' and 'step'")
        if any(list(row) != columns or None in row.values() for row in rows):
            raise ValueError("it has rows of different lengths")
        table = {
            name: [float(row[name]) if row[name] else None for row in rows] for name in columns
        }
        positions = [value for name in ("epoch", "step") for value in table.get(name, [])]
        if not all(value is not None and math.isfinite(value) for value in positions):
            raise ValueError("it has epochs or steps that are not numbers")
    except FileNotFoundError:
        return {}
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}. Remove it to start a new one.") from error
    return table


def set_aside_if_damaged(path: str | os.PathLike) -> None:
    """Renames a damaged table to `….damaged`, so that it does not prevent a run from training."""
    try:
        read_metrics(path)
    except ValueError as error:
        aside = f"{os.fspath(path)}.damaged"
        logging.warning("%s It is now %s.", error, aside)
        os.replace(path, aside)


class MetricsLog(keras.callbacks.Callback):
    """Writes `epoch, step, seconds, images_per_second, learning_rate` and all logs of each epoch.

    It adds `learning_rate` to the logs, so put it before other loggers. The file is rewritten
    atomically after each epoch. A resumed run drops the rows of epochs that it repeats; the seconds
    of an epoch resumed in the middle count from then on. A damaged table is replaced by a new one.

    Args:
        path: path of the table.
        images_per_epoch: number of images that an epoch trains on.
    """

    def __init__(self, path: str | os.PathLike, images_per_epoch: int):
        super().__init__()
        self._path, self._images = pathlib.Path(path), images_per_epoch

    def on_train_begin(self, logs=None):
        set_aside_if_damaged(self._path)
        columns = read_metrics(self._path)
        length = len(columns["epoch"]) if columns else 0
        self._rows = [{key: column[i] for key, column in columns.items()} for i in range(length)]

    def on_epoch_begin(self, epoch, logs=None):
        self._begin, self._first = time.perf_counter(), self._step()

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        seconds = time.perf_counter() - self._begin
        done = (self._step() - self._first) / self.params["steps"]  # share done in this process
        row = {
            "epoch": epoch + 1,
            "step": self._step(),
            "seconds": round(seconds, 3),
            "images_per_second": round(done * self._images / seconds, 1),
            **{key: float(value) for key, value in logs.items() if not math.isnan(value)},
        }
        earlier = [other for other in self._rows if other["epoch"] <= epoch]
        self._rows = [*earlier, row]
        write_atomically(self._path, self._as_csv())

    def _step(self):
        return int(self.model.step.numpy())

    def _as_csv(self):
        columns = list(dict.fromkeys(key for row in self._rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        for row in self._rows:
            whole = {key: int(row[key]) for key in ("epoch", "step")}
            writer.writerow(row | whole)
        return text.getvalue()
