"""Evaluates several encoders and baselines by the same protocol."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from cl_keras.evaluation.checks import positive
from cl_keras.evaluation.features import Features, encode_function, features
from cl_keras.evaluation.few_labels import curve_totals, few_label_hits, proportional_counts
from cl_keras.evaluation.knn import vote_of_several
from cl_keras.evaluation.labeled import LabeledPair, labeled_pair
from cl_keras.evaluation.linear import predict_classes
from cl_keras.evaluation.metric import Metric, metric_of
from cl_keras.evaluation.perturbed import Perturbed, retrieval_hits

METRICS = {
    "knn": "k-NN",
    "perturbed_knn": "k-NN, perturbed",
    "retrieval_top1": "instance retrieval",
    "linear": "linear",
    "linear_10_percent": "linear, 10 % labels",
    "linear_1_percent": "linear, 1 % labels",
}
"""The main metrics, and their titles."""

MAJORITY = "majority class"
"""The row of a classifier that always predicts the most frequent class of the training images."""

TRIALS = 5  # draws of few labels
MAX_PASSES = 200  # of a linear probe over the training features; more do not improve accuracy


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The features of one encoder, from which its metrics are computed.

    Attributes:
        train: features of the training images, the bank.
        test: features of the test images.
        perturbed: features of the perturbed test images.
    """

    train: Features
    test: Features
    perturbed: Features

    @property
    def has_labels(self) -> bool:
        """Whether both training and test images have labels."""
        return self.train.labels is not None and self.test.labels is not None


def encode(
    encoder: keras.Model | Callable,
    train_source: Any,
    test_source: Any,
    *,
    name: str = "",
    seed: int = 0,
    progress: bool = True,
) -> Encoded:
    """Encodes the training images, the test images, and the perturbed test images.

    Args:
        encoder: a `keras.Model` or function from images to vectors.
        train_source: a source, or anything else that `features` takes.
        test_source: likewise, with square images.
        name: title of the progress bars; default: "".
        seed: of the perturbations; default: 0.
        progress: show progress bars; default: True.
    """
    function = encode_function(encoder)
    streams = {
        "bank": train_source,
        "test": test_source,
        "perturbed": Perturbed(test_source, seed),
    }
    return Encoded(
        *(
            features(function, images, progress=progress and f"{name}: {title}")
            for title, images in streams.items()
        )
    )


def table(
    encoders: dict[str, keras.Model | Callable],
    train_source: Any,
    test_source: Any,
    *,
    k: int = 20,
    also_k: int | None = 200,
    temperature: float = 0.07,
    gallery: int = 2000,
    linear: bool = True,
    curve: bool = False,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, list[Metric]]:
    """Evaluates several encoders by the same protocol.

    For each it computes weighted k-NN on the clean test images and on perturbed ones (see
    `perturb`), and how often a perturbed test image retrieves its original. The bank of both k-NN
    metrics is the clean training set. With `linear`, it also fits a linear probe to all labels and
    to 10 % and 1 % of them.

    Args:
        encoders: {name: `keras.Model` or function from images to vectors}, such as
            `{"raw pixels": raw_pixels, "PCA-128": pca_whitened(train), "SimCLR": model}`.
        train_source: a source, or anything else that `features` takes.
        test_source: likewise, with square images. If either has no labels, only instance retrieval
            is computed.
        k: number of neighbors that vote; default: 20.
        also_k: number of neighbors of a second k-NN metric, or None; default: 200.
        temperature: τ of the votes; default: 0.07.
        gallery: number of test images to retrieve from, drawn at random, or all if there are fewer;
            default: 2000.
        linear: also fit linear probes, if there are labels; default: True.
        curve: also compute the label curve, linear probes on 10, 20, 40, … labels; default: False.
        seed: of the perturbations, the gallery and the few labels; default: 0.
        progress: show progress bars; default: True.

    Returns:
        {name: list of `Metric`}, with the names of metrics as in `METRICS`. If there are labels,
        the row `MAJORITY` comes first.

    Raises:
        ValueError: no encoder, or images that do not match.
    """
    if not encoders:
        raise ValueError("Expected at least one encoder {name: model}; received none.")
    rows: dict[str, list[Metric]] = {}
    options: dict[str, Any] = {"k": k, "also_k": also_k}
    options |= {"temperature": temperature, "gallery": gallery}
    for name, encoder in encoders.items():
        encoded = encode(
            encoder, train_source, test_source, name=name, seed=seed, progress=progress
        )
        rows[name] = metrics_of(encoded, **options, linear=linear, curve=curve, seed=seed)
    if encoded.has_labels:
        rows = {MAJORITY: majority(labeled_pair(encoded.train, encoded.test))} | rows
    return rows


def metrics_of(
    encoded: Encoded,
    *,
    k: int = 20,
    also_k: int | None = 200,
    temperature: float = 0.07,
    gallery: int = 2000,
    linear: bool = True,
    curve: bool = False,
    seed: int = 0,
) -> list[Metric]:
    """The metrics of one encoder; see `table`."""
    found = []
    if encoded.has_labels:
        ks = [positive("k", k)] + ([] if also_k is None else [positive("also_k", also_k)])
        pair = labeled_pair(encoded.train, encoded.test)
        perturbed = labeled_pair(encoded.train, encoded.perturbed)
        found += _knn(pair, ks, temperature, "knn", "")
        found += _knn(perturbed, ks, temperature, "perturbed_knn", ", each perturbed")
        found += _linear(pair, seed) if linear else []
        found += label_curve(pair, seed=seed) if curve else []
    seen = _gallery(len(encoded.test), gallery, seed)
    hits = retrieval_hits(encoded.test.vectors[seen], encoded.perturbed.vectors[seen])
    protocol = f"nearest of {len(seen)} test images to each of them perturbed, cosine"
    return [*found, metric_of("retrieval_top1", hits, protocol)]


def _knn(pair, ks, temperature, name, condition):
    """k-NN for each k; the first keeps the plain name."""
    found = []
    for k, vote in vote_of_several(pair, ks=ks, temperature=temperature).items():
        protocol = (
            f"weighted k-NN, cosine, k {min(k, len(pair.train))}, votes exp(s/{temperature:g}), "
            f"among {_images(pair)}{condition}"
        )
        key = name if k == ks[0] else f"{name}_{k}"
        found.append(metric_of(key, vote.rank < 1, protocol, pair.test_classes))
    return found


def _images(pair):
    return f"{len(pair.train)} training images, on {len(pair.test)} test images"


def _linear(pair, seed):
    """Linear probes on all labels, and on few of them."""
    protocol = (
        "multinomial logistic regression (l2 1) on frozen, standardized features of "
        f"{_images(pair)}"
    )
    predicted, _ = predict_classes(pair, epochs=MAX_PASSES)
    found = [metric_of("linear", predicted == pair.test_classes, protocol, pair.test_classes)]
    sizes = np.bincount(pair.train_classes)
    for percent in (10, 1):
        counts = np.maximum(1, np.round(percent / 100 * sizes)).astype(int)
        hits = few_label_hits(pair, counts, trials=TRIALS, seed=seed)
        few = f"{protocol}; {percent} % of the labels, mean of {TRIALS} draws"
        found.append(metric_of(f"linear_{percent}_percent", hits, few, pair.test_classes))
    return found


def label_curve(pair: LabeledPair, *, trials: int = TRIALS, seed: int = 0) -> list[Metric]:
    """The linear probe on 10, 20, 40, … labels: metrics `linear_10_labels`, ….

    Args:
        pair: see `labeled_pair`.
        trials: number of draws for each number of labels; default: 5.
        seed: of the draws, which are the same for every encoder; default: 0.
    """
    sizes, found = np.bincount(pair.train_classes), []
    for total in curve_totals(len(pair.train), len(pair.class_names)):
        hits = few_label_hits(pair, proportional_counts(sizes, total), trials=trials, seed=seed)
        protocol = (
            f"linear probe on {total} labels, drawn in proportion to the classes, mean of "
            f"{trials} draws; {_images(pair)}"
        )
        found.append(metric_of(f"linear_{total}_labels", hits, protocol, pair.test_classes))
    return found


def majority(pair: LabeledPair) -> list[Metric]:
    """The metrics of always predicting the most frequent training class."""
    answer = np.bincount(pair.train_classes).argmax()
    hits = pair.test_classes == answer
    protocol = f"always {pair.class_names[answer]!r}, the most frequent of {_images(pair)}"
    names = [name for name in METRICS if name != "retrieval_top1"]
    return [metric_of(name, hits, protocol, pair.test_classes) for name in names]


def _gallery(rows, size, seed):
    """`size` random rows in ascending order."""
    size = min(rows, positive("gallery", size))
    return np.sort(np.random.default_rng(seed).permutation(rows)[:size])
