"""Checkpoints that are never half written, and are checked before they are loaded."""

import dataclasses
import math
import pathlib

import numpy as np
from absl import logging

from cl_keras import distribute
from cl_keras.files import UNFINISHED, replacing, sha256, write_atomically
from cl_keras.runs import state
from cl_keras.runs.sealed import seal, unseal

MONITORS = {"knn": "max", "val_loss": "min", "loss": "min"}
"""What tells the best checkpoint where nothing is asked for: the first of these that is logged."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a run is; false at its very beginning.

    Attributes:
        epoch: finished epochs, `initial_epoch` of `fit`.
        batch: finished batches of the epoch after them, `initial_batch` of `fit`.
        step: finished steps in all.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0

    def __bool__(self):
        return self != Place()


class Checkpoints:
    """All variables of a model and its training, in a folder, and a manifest of what is whole.

    A run that keeps checkpoints cannot be lost, in a script of one's own either:

        checkpoints = cl.runs.Checkpoints("checkpoints", keep=3)
        place = checkpoints.restore(model)
        model.fit(
            images,
            epochs=100,
            initial_epoch=place.epoch,
            initial_batch=place.batch,
            callbacks=[cl.runs.CheckpointCallback(checkpoints, every_steps=500)],
        )

    Whatever ends this script, started again it goes on where the newest checkpoint is, in the
    middle of an epoch too, and ends with the same weights as if it had not been interrupted.

    A checkpoint is `epoch-….npz` beside its record `epoch-….json`, and counts from the moment that
    the record or `manifest.json`, which has a copy of all records, names it with its SHA-256. Each
    file is written under another name, brought to the disk and renamed; so at any moment, after a
    kill or a power cut, the records name whole files only. Records and manifest can be read by
    hand, and carry a SHA-256 of themselves.

    Of several workers, all restore and the first one saves; so all must see the same folder.

    NOTE: the files are NumPy's, since HDF5 (`save_weights`) ends the process with a segmentation
    fault when the disk fills up.

    Args:
        folder: made if it is not there.
        keep: how many of the newest to keep; the best one is kept besides.
        monitor: the log of an epoch that tells the best. Default: None, the first of `knn`,
            `val_loss` and `loss` that is logged.
        mode: `"max"` or `"min"`: whether a high or a low `monitor` is good.

    Raises:
        ValueError: for `keep` below 1, another mode, or a monitor of one's own without one.
    """

    def __init__(self, folder, *, keep=2, monitor=None, mode=None):
        if keep < 1:
            raise ValueError(f"keep must be at least 1 checkpoint; received {keep!r}.")
        mode = mode or MONITORS.get(monitor)
        if monitor is not None and mode not in ("max", "min"):
            raise ValueError(
                f'mode must be "max" or "min", whichever is good of {monitor!r}; received {mode!r}.'
            )
        self.folder = pathlib.Path(folder)
        self.keep = keep
        self._monitors = MONITORS if monitor is None else {monitor: mode}
        self._manifest = self.folder / "manifest.json"

    def list(self):
        """The records of all checkpoints, oldest first.

        Returns:
            Dictionaries of `epoch`, `batch`, `step` (see `Place`), `file`, its `sha256`, and the
            `logs` of the epoch where the checkpoint stands at the end of one.
        """
        return self._records()[0]

    def best(self):
        """The record of the best checkpoint; None if none stands at the end of an epoch."""
        return self._best_of(self.list())

    def save(self, model, epoch, batch=0, logs=None):
        """Saves all of a compiled model's state.

        Args:
            model: the model.
            epoch: number of finished epochs.
            batch: number of finished batches of the next one.
            logs: of the epoch that has just ended, by which the best checkpoint is told.

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
            place = {"epoch": epoch, "batch": batch, "step": int(model.step.numpy())}
            record = {**place, "file": path.name, "sha256": sha256(path), "logs": _finite(logs)}
            write_atomically(path.with_suffix(".json"), seal(record))
            older = [other for other in self.list() if _place(other) < _place(record)]
            kept = self._kept([*older, record])
            best = self._best_of(kept)
            manifest = {"checkpoints": kept, "best": best["file"] if best else None}
            write_atomically(self._manifest, seal(manifest))
            self._remove_all_but(kept)
        except OSError as error:
            raise OSError(
                f"Could not write the checkpoint of epoch {epoch}, batch {batch} to {self.folder}: "
                f"{error}. Earlier checkpoints are as they were. Free space, or make the folder "
                "writable, and start the same run again: it goes on from the last one."
            ) from error

    def restore(self, model):
        """Loads the newest checkpoint that is whole into a compiled model.

        Returns:
            Its `Place`; false if there is no checkpoint.

        Raises:
            OSError: if there are checkpoints and none is whole, or if another worker has found
                another one.
            ValueError: if it is of another model.
        """
        records, broken = self._records()
        place = None
        for record in reversed(records):
            if self._is_whole(record):
                state.assign(model, self.folder / record["file"])
                place = Place(*_place(record), record["step"])
                break
            logging.warning(
                "The checkpoint %s is broken; trying the one before it.",
                self.folder / record["file"],
            )
        if (records or broken) and place is None:
            raise OSError(
                f"None of the checkpoints in {self.folder} is whole. Remove that folder to begin "
                "the run again, or restore it from a copy."
            )
        place = place or Place()
        self._check_other_workers(place.step)
        return place

    def restore_best(self, model):
        """Loads the best checkpoint into a compiled model, to measure or export it.

        Returns:
            Its `Place`.

        Raises:
            OSError: if there is none, or it is broken.
            ValueError: if it is of another model.
        """
        record = self.best()
        if record is None or not self._is_whole(record):
            raise OSError(f"{self.folder} holds no best checkpoint that is whole.")
        state.assign(model, self.folder / record["file"])
        return Place(*_place(record), record["step"])

    def _records(self):
        """All records, by their own files and the manifest; how many files of them are broken."""
        found, broken = {}, 0
        for path in [*self.folder.glob("epoch-*.json"), self._manifest]:
            try:
                content = unseal(path.read_bytes())
            except FileNotFoundError:
                continue
            except (ValueError, OSError) as error:
                logging.warning("%s is broken (%s); doing without it.", path, error)
                broken += 1
                continue
            for record in content.get("checkpoints", [content]):
                found[_place(record)] = record
        return [found[place] for place in sorted(found)], broken

    def _is_whole(self, record):
        try:
            return sha256(self.folder / record["file"]) == record["sha256"]
        except OSError:
            return False

    def _kept(self, records):
        best = self._best_of(records)
        newest = records[-self.keep :]
        return newest if best is None or best in newest else [best, *newest]

    def _best_of(self, records):
        for name, mode in self._monitors.items():
            measured = [record for record in records if name in record["logs"]]
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


def _place(record):
    return record["epoch"], record["batch"]


def _finite(logs):
    logs = {name: float(value) for name, value in (logs or {}).items()}
    return {name: value for name, value in logs.items() if math.isfinite(value)}
