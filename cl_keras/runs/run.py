"""The folder of a run."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
from collections.abc import Iterator
from typing import Any

import keras
from absl import logging

from cl_keras import distribute
from cl_keras.data import Identity, compare
from cl_keras.encoders.model_file import load_model
from cl_keras.files import UNFINISHED, replacing, write_atomically
from cl_keras.locks import Locked, locked
from cl_keras.runs.checkpoint_callback import CheckpointCallback
from cl_keras.runs.checkpoints import Checkpoints
from cl_keras.runs.metrics_log import MetricsLog, read_metrics, set_aside_if_damaged
from cl_keras.version import __version__

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "tensorflow-datasets", "pillow")
LOCK = ".lock"


class Run:
    """The folder of a run, with its results and everything needed to resume it.

        config.json      everything that determines the result
        images.json      the identity of the images: their names, sizes and hashes
        versions.json    versions of Python and the packages at the last start
        metrics.csv      one row per epoch
        tensorboard/     the same, for TensorBoard
        checkpoints/     the newest weights and the best, with all that training needs to resume
        skipped.txt      images that could not be read, with the reasons
        encoder.keras    the trained encoder

    `Run(folder, config)` checks that a run in the folder is the same run, and writes nothing.
    `with run.locked():` keeps out all other processes, checks again, and turns the folder into a
    run, so that its configuration is always that of the process that trains.

    With several workers, the first one writes, and all must see the same folder.

    Args:
        folder: folder of the run.
        config: everything that determines the result, as JSON values; default: None, to open an
            existing run.
        images: the `data.Identity` of the images; default: None, not checked. Each index must stand
            for the same image as when the run began, since the rows of memory banks and the order
            of the images depend on it. A file that can no longer be read keeps its index, and is
            allowed.
        allow_changed_images: allow other files in place of those that the run began with, if there
            are as many; default: False.
        keep: number of checkpoints to keep, in addition to the best; default: 2.

    Raises:
        FileNotFoundError: without `config`, if there is no run.
        ValueError: if the folder has a run with another configuration or other images, or anything
            else.
        OSError: if the folder cannot be read.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        config: dict[str, Any] | None = None,
        *,
        images: Identity | None = None,
        allow_changed_images: bool = False,
        keep: int = 2,
    ):
        self.folder = pathlib.Path(folder)
        self._images, self._allow_changed_images = images, allow_changed_images
        if config is None:
            config = self._read_config()
            if config is None:
                raise FileNotFoundError(
                    f"{self.folder} holds no run (no config.json). Give the folder of "
                    "`cl-keras pretrain --run=...`."
                )
        self.config = json.loads(json.dumps(config))
        self._check()
        digest = hashlib.sha256(_as_json(self.config).encode()).hexdigest()
        self.checkpoints = Checkpoints(
            self.folder / "checkpoints", keep=keep, run={"configuration": digest[:16]}
        )

    @contextlib.contextmanager
    def locked(self) -> Iterator[Run]:
        """Keeps other processes from writing to the run; the lock ends with its process.

        Raises:
            OSError: if another process has the lock, or the folder cannot be written.
            ValueError: if another process has just started another run in the folder.
        """
        if not distribute.is_chief():
            yield self
            return
        with contextlib.ExitStack() as stack:
            with self._naming_the_folder():
                self.folder.mkdir(parents=True, exist_ok=True)
                try:
                    stack.enter_context(locked(self.folder / LOCK, wait=False))
                except Locked:
                    raise Locked(
                        f"Another process is training in {self.folder}. Wait for it, or stop it."
                    ) from None
            is_new = self._check()
            with self._naming_the_folder():
                for path in self.folder.glob(UNFINISHED):  # of a process that was killed
                    path.unlink()
                self._write(is_new)
            yield self

    def _check(self):
        """Checks that a run in the folder is this one; returns whether there is none."""
        config = self._read_config()
        if config is None:
            others = self._other_files()
            # Another process may have started the run in the meantime.
            config = self._read_config()
            if config is None and others:
                raise ValueError(
                    f"{self.folder} is not empty but holds no run; nothing was written. "
                    "Give a new or empty folder."
                )
            if config is None:
                return True
        self._check_images()
        if config != self.config:
            raise ValueError(
                f"{self.folder} holds a run with another configuration:\n"
                + _differences(config, self.config)
                + "\nNothing was changed. Give another --run folder, or the old values to resume."
            )
        return False

    def _other_files(self):
        """The content of the folder, except leftovers of a process that was killed early."""
        there = set(self.folder.glob("*")) - set(self.folder.glob(UNFINISHED))
        return there - {self.folder / LOCK}

    @property
    def images(self) -> Identity | None:
        """Which images the run has, by `images.json`; None where it does not say.

        Raises:
            ValueError: if the file is damaged.
        """
        path = self.folder / "images.json"
        try:
            return Identity.from_json(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(
                f"{path} is damaged ({error}). Restore it from a copy; or remove it, if you are "
                "sure that the images are those with which the run began."
            ) from error

    def _check_images(self):
        path = self.folder / "images.json"
        before = None if self._images is None else self.images
        if before is None:
            return
        changes = compare(before, self._images)
        if changes.same_rows:
            if changes:
                logging.warning(
                    "Images of %s have changed, but keep their rows: %s.", path, changes
                )
            return
        same_number = len(before.images) == len(self._images.images)
        if self._allow_changed_images and same_number:
            logging.warning("Images of %s have changed, as allowed: %s.", path, changes)
            return
        raise ValueError(
            f"The images of the run {self.folder} are not those with which it began: {changes}.\n"
            "Nothing was changed. Put the old images back, or give another --run folder."
        )

    def _write(self, is_new):
        if is_new:
            write_atomically(self.folder / "config.json", _as_json(self.config))
        images = self.folder / "images.json"
        if self._images is not None and (self._allow_changed_images or not images.exists()):
            write_atomically(images, self._images.to_json())
        set_aside_if_damaged(self.folder / "metrics.csv")
        write_atomically(self.folder / "versions.json", _as_json(_versions()))

    def _read_config(self):
        path = self.folder / "config.json"
        try:
            config = json.loads(path.read_bytes().decode("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{path} is damaged ({error}). Restore it from a copy, or give another --run "
                "folder."
            ) from error
        if not isinstance(config, dict):
            raise ValueError(f"{path} is damaged: it must be a JSON object.")
        return config

    @contextlib.contextmanager
    def _naming_the_folder(self):
        try:
            yield
        except Locked:
            raise
        except OSError as error:
            raise OSError(f"Cannot write the run folder {self.folder}: {error}.") from error

    def callbacks(
        self, images_per_epoch: int, *, every_steps: int | None = None
    ) -> list[keras.callbacks.Callback]:
        """Keras callbacks that write the metrics, TensorBoard's logs and the checkpoints.

        Args:
            images_per_epoch: number of images that an epoch trains on.
            every_steps: see `CheckpointCallback`; default: None.
        """
        checkpoints = CheckpointCallback(self.checkpoints, every_steps=every_steps)
        if not distribute.is_chief():
            return [checkpoints]
        return [
            MetricsLog(self.folder / "metrics.csv", images_per_epoch),
            keras.callbacks.TensorBoard(str(self.folder / "tensorboard"), write_graph=False),
            checkpoints,
        ]

    def metrics(self) -> dict[str, list[float | None]]:
        """The columns of `metrics.csv`; see `read_metrics`."""
        return read_metrics(self.folder / "metrics.csv")

    @property
    def encoder_path(self) -> pathlib.Path:
        """Path of `encoder.keras`."""
        return self.folder / "encoder.keras"

    def save_encoder(self, encoder: keras.Model) -> None:
        """Writes `encoder.keras` atomically.

        Raises:
            OSError: if it cannot be written; the error names the file.
        """
        if not distribute.is_chief():
            return
        try:
            with replacing(self.encoder_path) as temporary:
                encoder.save(temporary)
        except OSError as error:
            raise OSError(
                f"Could not write {self.encoder_path}: {error}. Free space, or make the folder "
                "writable, and start the same run again; its checkpoints are complete."
            ) from error

    def load_encoder(self) -> keras.Model:
        """Loads the trained encoder.

        Raises:
            FileNotFoundError: if the run is not finished.
            ValueError: if the file is damaged.
        """
        if not self.encoder_path.exists():
            raise FileNotFoundError(
                f"{self.folder} has no encoder.keras: the run is not finished. "
                "Run the same `cl-keras pretrain` command again to resume it."
            )
        return load_model(self.encoder_path)


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
