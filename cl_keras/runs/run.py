"""The folder of a run."""

import contextlib
import fcntl
import importlib.metadata
import json
import pathlib
import platform

import keras

from cl_keras import distribute
from cl_keras.files import UNFINISHED, replacing, write_atomically
from cl_keras.runs.checkpoint_callback import CheckpointCallback
from cl_keras.runs.checkpoints import Checkpoints
from cl_keras.runs.metrics_log import MetricsLog, read_metrics
from cl_keras.version import __version__

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "tensorflow-datasets", "pillow")


class Run:
    """What a run leaves behind, and what it needs to go on.

        config.json      everything that decides the result
        versions.json    of Python and the packages, at the last start
        metrics.csv      a row for each epoch
        tensorboard/     the same, for TensorBoard
        checkpoints/     the newest weights and the best, with all that training needs to go on
        skipped.txt      images that could not be read, with the reason
        encoder.keras    the trained encoder

    `Run(folder, config)` opens a folder, or makes it; the configuration of a run that is there
    must be the same. While it is locked (`with run.locked():`) no other process can write to it.

    Of several workers that train together the first one writes; all must see the same folder.

    Args:
        folder: of the run.
        config: what JSON can hold. None: open an existing run, whatever it is.
        keep: how many checkpoints to keep, beside the best.

    Raises:
        FileNotFoundError: without `config`, if there is no run.
        ValueError: if there is a run with another configuration.
        OSError: if the folder cannot be made or written.
    """

    def __init__(self, folder, config=None, *, keep=2):
        self.folder = pathlib.Path(folder)
        path = self.folder / "config.json"
        existing = json.loads(path.read_text("utf-8")) if path.exists() else None
        if config is None:
            if existing is None:
                raise FileNotFoundError(
                    f"{self.folder} holds no run (no config.json). Give the folder that "
                    "`cl-keras pretrain --run=...` wrote."
                )
            config = existing
        config = json.loads(json.dumps(config))
        if existing is None:
            if distribute.is_chief():
                self._begin(path, config)
        elif existing != config:
            raise ValueError(
                f"{self.folder} holds a run with another configuration:\n"
                + _differences(existing, config)
                + "\nNothing was changed. Give another --run folder, or the old values to resume."
            )
        self.config = config
        self.checkpoints = Checkpoints(self.folder / "checkpoints", keep=keep)

    def _begin(self, path, config):
        # A process that was killed while it wrote config.json leaves that unfinished.
        there = set(self.folder.glob("*")) - set(self.folder.glob(UNFINISHED))
        if there:
            raise ValueError(
                f"{self.folder} is not empty and holds no run; nothing was written. "
                "Give a new or empty folder."
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _as_json(config))
        except OSError as error:
            raise OSError(f"Cannot write the run folder {self.folder}: {error}.") from error

    @contextlib.contextmanager
    def locked(self):
        """Keeps other processes from writing to the run; a killed one lets go by itself.

        Raises:
            OSError: if another process has it.
        """
        if not distribute.is_chief():
            yield self
            return
        with open(self.folder / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError(
                    f"Another process is training in {self.folder}. Wait for it, or end it."
                ) from None
            for path in self.folder.glob(UNFINISHED):  # of a process that was killed
                path.unlink()
            write_atomically(self.folder / "versions.json", _as_json(_versions()))
            yield self

    def callbacks(self, images_per_epoch, *, every_steps=None):
        """Keras callbacks that write the metrics, TensorBoard's logs and the checkpoints.

        Args:
            images_per_epoch: number of images that an epoch trains on.
            every_steps: steps within an epoch between checkpoints; see `CheckpointCallback`.
        """
        checkpoints = CheckpointCallback(self.checkpoints, every_steps=every_steps)
        if not distribute.is_chief():
            return [checkpoints]
        return [
            MetricsLog(self.folder / "metrics.csv", images_per_epoch),
            keras.callbacks.TensorBoard(str(self.folder / "tensorboard"), write_graph=False),
            checkpoints,
        ]

    def metrics(self):
        """The columns of `metrics.csv`; see `read_metrics`."""
        return read_metrics(self.folder / "metrics.csv")

    @property
    def encoder_path(self):
        return self.folder / "encoder.keras"

    def save_encoder(self, encoder):
        """Writes `encoder.keras`, whole or not at all."""
        if not distribute.is_chief():
            return
        with replacing(self.encoder_path) as temporary:
            encoder.save(temporary)

    def load_encoder(self):
        """The trained encoder.

        Raises:
            FileNotFoundError: if the run has not ended yet.
        """
        if not self.encoder_path.exists():
            raise FileNotFoundError(
                f"{self.folder} has no encoder.keras: the run has not ended. "
                "Start the same `cl-keras pretrain` command again; it goes on."
            )
        return keras.models.load_model(self.encoder_path, compile=False)


def _versions():
    found = {"cl_keras": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _as_json(value):
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def _differences(existing, config):
    keys = sorted(existing.keys() | config.keys())
    lines = [
        f"  {key}: {existing.get(key)!r} in the run, {config.get(key)!r} now"
        for key in keys
        if existing.get(key) != config.get(key)
    ]
    return "\n".join(lines)
