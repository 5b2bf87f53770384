"""Checkpoints that are never half written, and are checked before they are loaded."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from typing import Any

import numpy as np
from absl import logging

from cl_keras import distribute
from cl_keras.files import UNFINISHED, replacing, sha256
from cl_keras.runs import records, state

MONITORS = {"knn": "max", "val_loss": "min", "loss": "min"}
"""By which log the best checkpoint is chosen by default: the first of these that is there."""


@dataclasses.dataclass(frozen=True)
class Position:
    """The position of a run; false at its very beginning.

    Attributes:
        epoch: finished epochs, `initial_epoch` of `fit`.
        batch: finished batches of the epoch after them, `initial_batch` of `fit`.
        step: finished steps in all.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0

    def __bool__(self):
        return self != Position()


class Checkpoints:
    """Saves all variables of a model and its training, and restores them exactly.

    With checkpoints, your own script can be interrupted at any moment:

        checkpoints = cl.runs.Checkpoints("checkpoints", keep=3)
        position = checkpoints.restore(model)
        model.fit(
            images,
            epochs=100,
            initial_epoch=position.epoch,
            initial_batch=position.batch,
            callbacks=[cl.runs.CheckpointCallback(checkpoints, every_steps=500)],
        )

    Whatever ends this script, when started again it resumes from the newest checkpoint, also in the
    middle of an epoch, and ends with the same weights as if it had never been interrupted.

    A checkpoint is `epoch-….npz` beside its record `epoch-….json`, and counts from the moment that
    the record, or `manifest.json`, which has a copy of all records, names it with its SHA-256. Each
    file is written under another name, flushed to the disk and renamed; so at any moment, even
    after a kill or a power cut, the records name whole files only. Records and manifest can be
    read by hand, and carry a SHA-256 of themselves.

    A record also names its run: the class and the seed of the model, the batch size, and what is
    given as `run`. A checkpoint of another run is not restored.

    Of several workers, all restore and the first one saves; so all must see the same folder.

    NOTE: the files are NumPy's, since HDF5 (`save_weights`) ends the process with a segmentation
    fault when the disk fills up.

    Args:
        folder: made if it is not there.
        keep: how many of the newest to keep; the best one is kept in addition; default: 2.
        monitor: the log by which the best is chosen; default: the first of `knn`, `val_loss` and
            `loss` that is logged.
        mode: `"max"` or `"min"`: whether a high or a low `monitor` is good; default: that of the
            three.
        run: what else a checkpoint must have in common with the run that restores it, such as
            `{"data": "photos"}`; names and values, as JSON has them; default: nothing.

    Raises:
        ValueError: for `keep` below 1, another mode, or another monitor without a mode.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        keep: int = 2,
        monitor: str | None = None,
        mode: str | None = None,
        run: dict[str, Any] | None = None,
    ):
        if keep < 1:
            raise ValueError(f"keep must be at least 1 checkpoint; received {keep!r}.")
        mode = mode or (monitor and MONITORS.get(monitor))
        if monitor is not None and mode not in ("max", "min"):
            raise ValueError(
                f'mode must be "max" or "min", whichever of {monitor!r} is good; received {mode!r}.'
            )
        self.folder = pathlib.Path(folder)
        self.keep = keep
        self._monitors = MONITORS if monitor is None else {monitor: mode}
        self._run = {} if run is None else dict(run)

    def list(self) -> list[records.Record]:
        """The records of all checkpoints, oldest first.

        Returns:
            Dictionaries of `epoch`, `batch`, `step` (see `Position`), `file`, its `sha256`, the
            `logs` of the epoch at whose end the checkpoint stands, if any, and `run`.
        """
        return records.read_all(self.folder)[0]

    def best(self) -> records.Record | None:
        """The record of the best checkpoint; None if none stands at the end of an epoch."""
        return self._best_of(self.list())

    def save(self, model, epoch: int, batch: int = 0, logs: dict[str, float] | None = None):
        """Saves all of a compiled model's state.

        Args:
            model: the model.
            epoch: number of finished epochs.
            batch: number of finished batches of the next one.
            logs: of the epoch that has just ended, by which the best checkpoint is chosen.

        Raises:
            OSError: if it cannot be written; the earlier checkpoints stay.
            FloatingPointError: if a weight is NaN or infinite; likewise.
        """
        state.check_finite(model)
        name = f"epoch-{epoch:05d}-batch-{batch:07d}"
        path = self.folder / f"{name}.npz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                np.savez(temporary, **state.values_of(model))
            record = {
                **{"epoch": epoch, "batch": batch, "step": int(model.step.numpy())},
                **{"file": path.name, "sha256": sha256(path), "logs": _finite(logs)},
                "run": self._facts_of(model),
            }
            records.write(self.folder, record)
            at = records.position
            older = [other for other in self.list() if at(other) < at(record)]
            kept = self._kept([*older, record])
            best = self._best_of(kept)
            records.write_manifest(self.folder, kept, best["file"] if best else None)
            self._remove_all_but(kept)
        except OSError as error:
            raise OSError(
                f"Could not write the checkpoint of epoch {epoch}, batch {batch} to {self.folder}: "
                f"{error}. Earlier checkpoints are as they were. Free space, or make the folder "
                "writable, and start the same run again: it resumes from the last one."
            ) from error

    def restore(self, model) -> Position:
        """Loads the newest checkpoint that is whole into a compiled model.

        Returns:
            Its `Position`; false if there is no checkpoint.

        Raises:
            OSError: if there are checkpoints and none is whole, or if another worker has found
                another one.
            ValueError: if it is of another model or run.
        """
        found, broken = records.read_all(self.folder)
        whole = next((record for record in reversed(found) if self._is_whole_or_warn(record)), None)
        if (found or broken) and whole is None:
            raise OSError(
                f"None of the checkpoints in {self.folder} is whole. Remove that folder to begin "
                "the run again, or restore it from a copy."
            )
        progress = Position() if whole is None else self._load(model, whole)
        self._check_other_workers(progress.step)
        return progress

    def restore_best(self, model) -> Position:
        """Loads the best checkpoint into a compiled model, to measure or export it.

        Returns:
            Its `Position`.

        Raises:
            OSError: if there is none, or it is broken.
            ValueError: if it is of another model or run.
        """
        record = self.best()
        if record is None or not self._is_whole(record):
            raise OSError(f"{self.folder} holds no best checkpoint that is whole.")
        return self._load(model, record)

    def check_run(self, model, record: records.Record) -> None:
        """Checks that a checkpoint is of the run that a model is in.

        Raises:
            ValueError: if it is of another one.
        """
        here, there = self._facts_of(model), record["run"]
        lines = [
            f"  {name}: {there[name]!r} in the checkpoint, {here[name]!r} now"
            for name in sorted(here.keys() & there.keys())
            if here[name] != there[name]
        ]
        if lines:
            raise ValueError(
                f"The checkpoints in {self.folder} are of another run:\n" + "\n".join(lines) + "\n"
                "Nothing was restored. Give another folder, or train as that run did."
            )

    def _facts_of(self, model):
        """What tells the run of a model from others, as far as it is known."""
        batch_size = getattr(model, "batch_size", None)
        facts = {"method": type(model).__name__, "seed": getattr(model, "seed", None)}
        return self._run | facts | ({"batch_size": int(batch_size)} if batch_size else {})

    def _load(self, model, record):
        self.check_run(model, record)
        state.assign(model, self.folder / record["file"])
        return Position(*records.position(record), record["step"])

    def _is_whole_or_warn(self, record):
        path = self.folder / record["file"]
        whole = self._is_whole(record)
        if not whole:
            logging.warning("The checkpoint %s is damaged; trying the one before it.", path)
        return whole

    def _is_whole(self, record):
        try:
            return sha256(self.folder / record["file"]) == record["sha256"]
        except OSError:
            return False

    def _kept(self, all_records):
        best = self._best_of(all_records)
        newest = all_records[-self.keep :]
        return newest if best is None or best in newest else [best, *newest]

    def _best_of(self, all_records):
        for name, mode in self._monitors.items():
            measured = [record for record in all_records if name in record["logs"]]
            if measured:
                choose = max if mode == "max" else min
                return choose(measured, key=lambda record: record["logs"][name])
        return None

    def _remove_all_but(self, kept):
        names = {pathlib.Path(record["file"]).stem for record in kept}
        # The record goes before its checkpoint, so that none names a file that is gone.
        for ending in ("json", "npz"):
            for path in self.folder.glob(f"epoch-*.{ending}"):
                if path.stem not in names:
                    path.unlink()
        for path in self.folder.glob(UNFINISHED):
            path.unlink()

    def _check_other_workers(self, step):
        steps = distribute.from_every_worker(step)
        if len(set(steps)) > 1:
            raise OSError(
                f"The workers of this run found different checkpoints in {self.folder}: of the "
                f"steps {', '.join(map(str, steps))}. All must see one shared folder, as on NFS; "
                "nothing was trained."
            )


def _finite(logs):
    logs = {name: float(value) for name, value in (logs or {}).items()}
    return {name: value for name, value in logs.items() if math.isfinite(value)}
