"""A classifier on an encoder that also detects unusual images."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from cl_keras.downstream.arrays_file import read_arrays
from cl_keras.encoders import image_size
from cl_keras.encoders.model_file import load_model
from cl_keras.evaluation import features, neighbors
from cl_keras.evaluation.metric import metric_of
from cl_keras.files import replacing, write_atomically

NEAREST = 3
"""Number of neighbors whose mean distance tells how unusual an image is."""

USUAL_SHARE = 0.95
"""Share of the held-out images that count as usual."""


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Predictions of a classifier for a set of images, in the order of the source.

    Attributes:
        index: int64 `[n]`, index of each image in its source.
        classes: int64 `[n]`, the most probable class.
        probabilities: float32 `[n, C]`.
        distance: float32 `[n]`, mean cosine distance to the nearest labeled images, from 0 to 2;
            high for images unlike the labeled ones.
        unusual: bool `[n]`, whether `distance` exceeds that of 95 % of the held-out images.
    """

    index: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    distance: np.ndarray
    unusual: np.ndarray


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """How a classifier did on the labeled images that were held out.

    Attributes:
        images: number of these images.
        accuracy: mean over the classes of their accuracy, from 0 to 1.
        interval: ends of its 95 % interval, by the bootstrap over images.
    """

    images: int
    accuracy: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, hits: np.ndarray, labels: np.ndarray) -> "HeldOut":
        """From whether each image was a hit, bool `[m]`, and its class, int `[m]`."""
        found = metric_of("held_out", hits, "", labels)
        assert found.balanced is not None and found.balanced_interval is not None
        return cls(len(labels), found.balanced, found.balanced_interval)


class Classifier:
    """An encoder with a linear head.

    Args:
        encoder: a `keras.Model` from images to vectors.
        kernel: float `[d, C]`.
        bias: float `[C]`.
        class_names: C names.
        bank: float `[n, d]`, embeddings of labeled images.
        max_usual: distance beyond which an image is unusual.
        held_out: result on the held-out images; default: None, no image was held out.
    """

    def __init__(
        self,
        encoder: keras.Model,
        kernel: np.ndarray,
        bias: np.ndarray,
        class_names: Sequence[str],
        bank: np.ndarray,
        max_usual: float,
        held_out: HeldOut | None = None,
    ):
        self.encoder, self.kernel, self.bias = encoder, kernel, bias
        self.class_names, self.bank = list(class_names), np.asarray(bank, np.float32)
        self.max_usual, self.held_out = float(max_usual), held_out

    @property
    def image_options(self) -> dict:
        """`image_size` and `channels` for `data.load`."""
        channels = self.encoder.input_shape[-1]
        return {"image_size": image_size(self.encoder), "channels": channels}

    def predict(self, source: Any, *, progress: bool = True) -> Predictions:
        """Classifies images.

        Args:
            source: from `data.load(…, **classifier.image_options)`, or anything else that
                `evaluation.features` takes.
            progress: show a progress bar; default: True.
        """
        found = features(self.encoder, source, progress=progress and "predict")
        logits = found.vectors @ self.kernel + self.bias
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        distance = neighbor_distance(self.bank, found.vectors)
        return Predictions(
            found.index,
            probabilities.argmax(axis=1),
            probabilities.astype(np.float32),
            distance,
            distance > self.max_usual,
        )

    def save(self, folder: str | os.PathLike) -> pathlib.Path:
        """Writes `encoder.keras`, `head.npz` and `classifier.json` into a folder."""
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "encoder.keras") as temporary:
            self.encoder.save(temporary)
        with replacing(folder / "head.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, kernel=self.kernel, bias=self.bias, bank=self.bank)
        facts = {
            "class_names": self.class_names,
            "max_usual": self.max_usual,
            "held_out": None if self.held_out is None else dataclasses.asdict(self.held_out),
        }
        text = json.dumps(facts, indent=2, ensure_ascii=True) + "\n"
        write_atomically(folder / "classifier.json", text)
        return folder

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Classifier":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: there is no classifier in the folder.
            ValueError: one of its files is damaged.
        """
        folder = pathlib.Path(folder)
        if not (folder / "classifier.json").is_file():
            raise FileNotFoundError(
                f"{folder} holds no classifier (no classifier.json). Make one with "
                "`cl-keras finetune`."
            )
        try:
            facts = json.loads((folder / "classifier.json").read_text("utf-8"))
            names, usual, held_out = (facts[k] for k in ("class_names", "max_usual", "held_out"))
            if held_out is not None:
                held_out = HeldOut(**{**held_out, "interval": tuple(held_out["interval"])})
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{folder / 'classifier.json'} is damaged ({error}). Make the classifier again, "
                "with `cl-keras finetune`."
            ) from None
        kernel, bias, bank = read_arrays(folder / "head.npz", "kernel", "bias", "bank")
        encoder = load_model(folder / "encoder.keras")
        return cls(encoder, kernel, bias, names, bank, usual, held_out)


def neighbor_distance(bank: np.ndarray, queries: np.ndarray, skip: int = 0) -> np.ndarray:
    """Mean cosine distance to the `NEAREST` rows of a bank: float32 `[q]`.

    Args:
        bank: float `[n, d]`.
        queries: float `[q, d]`.
        skip: how many nearest rows to leave out, 1 if the queries are in the bank; default: 0.
    """
    count = min(len(bank), NEAREST + skip)
    _, cosines = neighbors(bank, queries, count)
    kept = cosines[:, skip:] if count > skip else cosines
    return (1 - kept.mean(axis=1)).astype(np.float32)
