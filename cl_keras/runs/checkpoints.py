"""Checkpoints that are never half written, and are checked before they are loaded."""

import json
import pathlib

import keras
import numpy as np
from absl import logging

from cl_keras.files import replacing, sha256, write_atomically


class Checkpoints:
    """A folder of all variables of a model and its optimizer, and a manifest of what is whole.

    A checkpoint counts from the moment that the manifest names it, with its SHA-256. It is written
    under another name, brought to the disk and renamed; so at any moment, after a kill or a power
    cut, the manifest names whole files only.

    NOTE: the files are NumPy's, since HDF5 (`save_weights`) ends the process with a segmentation
    fault when the disk fills up.

    Args:
        folder: made if it is not there.
        keep: how many of the newest to keep.
    """

    def __init__(self, folder, *, keep=2):
        self.folder = pathlib.Path(folder)
        self.keep = keep
        self._manifest = self.folder / "manifest.json"

    def list(self):
        """What the manifest names, oldest first: dicts of `epoch`, `file`, `sha256`."""
        if not self._manifest.exists():
            return []
        return json.loads(self._manifest.read_text("utf-8"))

    def save(self, model, epoch):
        """Saves all of a compiled model's state as that of a number of finished epochs.

        Raises:
            OSError: if it cannot be written; the earlier checkpoints stay.
        """
        path = self.folder / f"epoch-{epoch:05d}.npz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                np.savez(temporary, **{name: v.numpy() for name, v in _variables(model).items()})
            entry = {"epoch": epoch, "file": path.name, "sha256": sha256(path)}
            older = [other for other in self.list() if other["epoch"] < epoch]
            kept = [*older, entry][-self.keep :]
            write_atomically(self._manifest, json.dumps(kept, indent=2) + "\n")
        except OSError as error:
            raise OSError(
                f"Could not write the checkpoint of epoch {epoch} to {self.folder}: {error}. "
                "Earlier checkpoints are as they were. Free space, or make the folder writable, "
                "and start the same run again: it goes on from the last one."
            ) from error
        self._remove_all_but(kept)

    def restore(self, model):
        """Loads the newest checkpoint that is whole into a compiled model.

        Returns:
            The number of finished epochs; 0 if there is no checkpoint.

        Raises:
            OSError: if there are checkpoints and none is whole.
            ValueError: if it is of another model.
        """
        entries = self.list()
        for entry in reversed(entries):
            path = self.folder / entry["file"]
            if path.exists() and sha256(path) == entry["sha256"]:
                _assign(model, path)
                return entry["epoch"]
            logging.warning("The checkpoint %s is broken; trying the one before it.", path)
        if entries:
            raise OSError(
                f"None of the checkpoints in {self.folder} is whole. Remove that folder to begin "
                "the run again, or restore it from a copy."
            )
        return 0

    def _remove_all_but(self, kept):
        names = {entry["file"] for entry in kept}
        for path in self.folder.glob("epoch-*.npz"):
            if path.name not in names:
                path.unlink()


def _variables(model):
    """All variables of a compiled model and its optimizer, by their place.

    Their names will not do: Keras counts models of one class, and names the second another way.
    """
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    return {f"{i:05d}": variable for i, variable in enumerate(variables)}


def _assign(model, path):
    variables = _variables(model)
    with np.load(path, allow_pickle=False) as saved:
        shapes = {name: saved[name].shape for name in saved.files}
        if shapes != {name: tuple(v.shape) for name, v in variables.items()}:
            raise ValueError(
                f"The checkpoint {path} holds {len(shapes)} variables, but not those of this model "
                f"({len(variables)}). It was made by another model or version."
            )
        for name, variable in variables.items():
            value = saved[name]
            # NumPy's files know no bfloat16: its bits come back as void.
            variable.assign(value.view(variable.dtype) if value.dtype.kind == "V" else value)


class CheckpointCallback(keras.callbacks.Callback):
    """Saves a checkpoint after every epoch.

    Args:
        checkpoints: a `Checkpoints`.
    """

    def __init__(self, checkpoints):
        super().__init__()
        self._checkpoints = checkpoints

    def on_epoch_end(self, epoch, logs=None):
        self._checkpoints.save(self.model, epoch + 1)
