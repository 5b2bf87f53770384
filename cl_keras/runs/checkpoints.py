"""Checkpoints that are written atomically, and checked before they are loaded."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from typing import Any

import keras
import numpy as np
from absl import logging

from cl_keras import distribute
from cl_keras.files import UNFINISHED, replacing, sha256
from cl_keras.runs import records, state

MONITORS = {"knn": "max", "val_loss": "min", "loss": "min"}
"""Logs by which to choose the best checkpoint; by default, the first of them that exists."""


@dataclasses.dataclass(frozen=True)
class Position:
    """The position of a run; false at the very beginning.

    Attributes:
        epoch: number of finished epochs, `initial_epoch` of `fit`.
        batch: number of finished batches of the epoch after them, `initial_batch` of `fit`.
        step: total number of finished steps.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0

    def __bool__(self):
        return self != Position()


class Checkpoints:
    """Saves all variables of a model and its training, and restores them exactly.

    With checkpoints, your own script can be interrupted at any time:

        checkpoints = cl.runs.Checkpoints("checkpoints", keep=3)
        position = checkpoints.restore(model)
        model.fit(
            images,
            epochs=100,
            initial_epoch=position.epoch,
            initial_batch=position.batch,
            callbacks=[cl.runs.CheckpointCallback(checkpoints, every_steps=500)],
        )

    Whatever ends this script, when restarted it resumes from the newest checkpoint, even in the
    middle of an epoch, and ends with the same weights as if it had never been interrupted.

    A checkpoint is a file `epoch-….npz` with a record `epoch-….json`. It is valid once the record,
    or `manifest.json`, which has a copy of all records, names it with its SHA-256. Each file is
    written under another name, flushed to the disk and renamed, so at any time, even after a kill
    or a power failure, the records only name complete files. Records and manifest are readable,
    and include their own SHA-256.

    A record also identifies its run: the class and seed of the model, the batch size, and the facts
    given as `run`. A checkpoint of another run is not restored.

    With several workers, all restore and the first one saves, so all must see the same folder.

    NOTE: the files are NumPy's, since HDF5 (`save_weights`) crashes the process with a segmentation
    fault when the disk fills up.

    Args:
        folder: folder of the checkpoints; created if missing.
        keep: number of newest checkpoints to keep, in addition to the best; default: 2.
        monitor: the log by which to choose the best; default: None, the first of `knn`, `val_loss`
            and `loss` that is logged.
        mode: `"max"` or `"min"`, whether a high or a low `monitor` is better; default: None, known
            for these three.
        run: other facts that a checkpoint must have in common with the run that restores it, such
            as `{"data": "photos"}`, as JSON values; default: None.

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
                f'mode must be "max" or "min", whichever {monitor!r} is better; received {mode!r}.'
            )
        self.folder = pathlib.Path(folder)
        self.keep = keep
        self._monitors = MONITORS if monitor is None else {monitor: mode}
        self._run = {} if run is None else dict(run)

    def list(self) -> list[records.Record]:
        """The records of all checkpoints, oldest first.

        Returns:
            Dictionaries of `epoch`, `batch`, `step` (see `Position`), `file`, its `sha256`, the
            `logs` of the epoch, if the checkpoint is at the end of one, and `run`.
        """
        return records.read_all(self.folder)[0]

    def best(self) -> records.Record | None:
        """The record of the best checkpoint; None if none is at the end of an epoch."""
        return self._best_of(self.list())

    def save(
        self,
        model: keras.Model,
        epoch: int,
        batch: int = 0,
        logs: dict[str, float] | None = None,
    ) -> None:
        """Saves the complete state of a compiled model.

        Args:
            model: the model.
            epoch: number of finished epochs.
            batch: number of finished batches of the epoch after them; default: 0.
            logs: logs of the epoch that has just ended, by which to choose the best checkpoint;
                default: None.

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
                np.savez(temporary, **state.values_of(model))  # type: ignore[arg-type]
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
                f"{error}. Earlier checkpoints are unchanged. Free space, or make the folder "
                "writable, and start the same run again; it resumes from the last one."
            ) from error

    def restore(self, model: keras.Model) -> Position:
        """Loads the newest undamaged checkpoint into a compiled model.

        Returns:
            Its `Position`; false if there is no checkpoint.

        Raises:
            OSError: if all checkpoints are damaged, or another worker has found another one.
            ValueError: if it belongs to another model or run.
        """
        found, broken = records.read_all(self.folder)
        whole = next((record for record in reversed(found) if self._is_whole_or_warn(record)), None)
        if (found or broken) and whole is None:
            raise OSError(
                f"All checkpoints in {self.folder} are damaged. Remove that folder to start the "
                "run again, or restore it from a copy."
            )
        position = Position() if whole is None else self._load(model, whole)
        self._check_other_workers(position.step)
        return position

    def restore_best(self, model: keras.Model) -> Position:
        """Loads the best checkpoint into a compiled model, to evaluate or export it.

        Returns:
            Its `Position`.

        Raises:
            OSError: if there is none, or it is damaged.
            ValueError: if it belongs to another model or run.
        """
        record = self.best()
        if record is None or not self._is_whole(record):
            raise OSError(f"{self.folder} has no best checkpoint, or it is damaged.")
        return self._load(model, record)

    def check_run(self, model: keras.Model, record: records.Record) -> None:
        """Checks that a checkpoint belongs to the run of a model.

        Raises:
            ValueError: if it belongs to another one.
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
                "Nothing was restored. Give another folder, or train with the settings of that run."
            )

    def _facts_of(self, model):
        """The facts that identify the run of a model, as far as they are known."""
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
            logged = [record for record in all_records if name in record["logs"]]
            if logged:
                choose = max if mode == "max" else min
                return choose(logged, key=lambda record: record["logs"][name])
        return None

    def _remove_all_but(self, kept):
        names = {pathlib.Path(record["file"]).stem for record in kept}
        # A record is removed before its checkpoint, so that none names a missing file.
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
                f"steps {', '.join(map(str, steps))}. Give all a shared folder, as on NFS; nothing "
                "was trained."
            )


def _finite(logs):
    logs = {name: float(value) for name, value in (logs or {}).items()}
    return {name: value for name, value in logs.items() if math.isfinite(value)}
