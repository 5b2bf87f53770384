"""The numbers of every epoch, in a table that a resumed run goes on with."""

import csv
import io
import math
import time

import keras

from cl_keras.files import write_atomically


def read_metrics(path):
    """The table as a dictionary of columns, each a list of floats, or None where a cell is empty.

    Args:
        path: of a `metrics.csv`; one that is not there gives an empty dictionary.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return {}
    return {
        column: [float(row[column]) if row[column] else None for row in rows]
        for column in (rows[0] if rows else {})
    }


class MetricsLog(keras.callbacks.Callback):
    """Writes `epoch, step, seconds, images_per_second, learning_rate` and all logs of an epoch.

    It adds `learning_rate` to the logs, so put it before other loggers. The file is written whole
    after each epoch. On a resumed run, rows of epochs that are done again are dropped; the seconds
    of an epoch that was taken up in its middle are those since then.

    Args:
        path: of the table.
        images_per_epoch: number of images that an epoch trains on.
    """

    def __init__(self, path, images_per_epoch):
        super().__init__()
        self._path, self._images = path, images_per_epoch

    def on_train_begin(self, logs=None):
        columns = read_metrics(self._path)
        length = len(columns["epoch"]) if columns else 0
        self._rows = [{key: column[i] for key, column in columns.items()} for i in range(length)]

    def on_epoch_begin(self, epoch, logs=None):
        self._begin, self._first = time.perf_counter(), self._step()

    def on_epoch_end(self, epoch, logs=None):
        logs["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        seconds = time.perf_counter() - self._begin
        done = (self._step() - self._first) / self.params["steps"]  # share of the epoch, done here
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
