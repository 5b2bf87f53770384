"""Encoders and their baselines, side by side, by one protocol."""

import dataclasses
from typing import Any

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
"""The main metrics, and what people call them."""

MAJORITY = "majority class"
"""The row of a classifier that always gives the most frequent class of the training images."""

TRIALS = 5  # draws of few labels
MAX_PASSES = 200  # of a linear probe over the training features; what is left is no accuracy


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The features of one encoder that its metrics are made of.

    Attributes:
        train: of the training images, the bank.
        test: of the test images.
        perturbed: of the test images, perturbed.
    """

    train: Features
    test: Features
    perturbed: Features

    @property
    def has_labels(self) -> bool:
        """Whether both training and test images have labels."""
        return self.train.labels is not None and self.test.labels is not None


def encode(encoder, train_source, test_source, *, name="", seed=0, progress=True) -> Encoded:
    """Encodes the training images, the test images, and the test images perturbed.

    Args:
        encoder: a `keras.Model` or function from images to vectors.
        train_source: a source, or what else `features` takes.
        test_source: likewise, square images.
        name: title of the progress bars.
        seed: of the perturbations.
        progress: show progress bars.
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
    encoders,
    train_source,
    test_source,
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
    """Measures several encoders by one protocol.

    For each: weighted k-NN on the clean test images and on perturbed ones (see `perturb`), and how
    often a perturbed test image retrieves its original. The bank of both k-NN metrics is the clean
    training set. With `linear`, also a linear probe on all labels and on 10 % and 1 % of them.

    Args:
        encoders: {name: `keras.Model` or function from images to vectors}, such as
            `{"raw pixels": raw_pixels, "PCA-128": pca_whitened(train), "SimCLR": model}`.
        train_source: a source, or what else `features` takes.
        test_source: likewise, square images. Without labels here or there only instance retrieval
            is measured.
        k: neighbors that vote.
        also_k: neighbors of a second k-NN metric, or None.
        temperature: τ of the votes.
        gallery: retrieve among this many test images, drawn without labels (all, if there are
            fewer).
        linear: fit linear probes too, where there are labels.
        curve: also measure the label curve, linear probes on 10, 20, 40, … labels.
        seed: of the perturbations, the draw and the few labels.
        progress: show progress bars.

    Returns:
        {name: list of `Metric`}, the names of metrics as in `METRICS`. Where there are labels, the
        row `MAJORITY` comes first.

    Raises:
        ValueError: no encoder, or images that do not fit.
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
    """k-NN for each k; the first has the plain name."""
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
        trials: draws of labels at each number.
        seed: of the draws, which are the same for every encoder.
    """
    sizes, found = np.bincount(pair.train_classes), []
    for total in curve_totals(len(pair.train), len(pair.class_names)):
        hits = few_label_hits(pair, proportional_counts(sizes, total), trials=trials, seed=seed)
        protocol = (
            f"linear probe on {total} labels, drawn in the proportion of the classes, mean of "
            f"{trials} draws; {_images(pair)}"
        )
        found.append(metric_of(f"linear_{total}_labels", hits, protocol, pair.test_classes))
    return found


def majority(pair: LabeledPair) -> list[Metric]:
    """What always answering with the most frequent training class comes to, in every metric."""
    answer = np.bincount(pair.train_classes).argmax()
    hits = pair.test_classes == answer
    protocol = f"always {pair.class_names[answer]!r}, the most frequent of {_images(pair)}"
    names = [name for name in METRICS if name != "retrieval_top1"]
    return [metric_of(name, hits, protocol, pair.test_classes) for name in names]


def _gallery(rows, size, seed):
    """Ascending rows, `size` of them, drawn by `seed`."""
    size = min(rows, positive("gallery", size))
    return np.sort(np.random.default_rng(seed).permutation(rows)[:size])
