"""The quality of features when only a few images have labels."""

from collections.abc import Sequence

import numpy as np

from cl_keras.evaluation.checks import positive
from cl_keras.evaluation.features import Features
from cl_keras.evaluation.labeled import LabeledPair, balanced_weights, labeled_pair
from cl_keras.evaluation.linear import predict_classes

MAX_CURVE_LABELS = 1280
"""End of the label curve, beyond which a probe comes close to that with all labels."""


def few_labels(
    train: Features,
    test: Features,
    *,
    share: float | None = None,
    per_class: int | None = None,
    total: int | None = None,
    trials: int = 5,
    seed: int = 0,
    epochs: int = 100,
    l2: float = 1.0,
) -> dict:
    """Fits a linear probe to a few labeled rows, in several trials.

    Args:
        train: labeled features; see `linear_probe`.
        test: labeled features.
        share: share of each class that keeps its labels, above 0 and at most 1 (rounded, at least
            one row per class); default: 0.01, unless another number is given.
        per_class: number of rows of each class that keep their labels, instead; default: None.
        total: number of rows that keep their labels, in proportion to the classes, instead;
            default: None.
        trials: number of draws; default: 5.
        seed: determines the draws; default: 0.
        epochs: see `linear_probe`; default: 100.
        l2: see `linear_probe`; default: 1.0.

    Returns:
        `{"top1": mean, "std": deviation, "balanced": mean, "trials": [share, …],
        "protocol": {…}}`; the sample standard deviation is over the draws, 0 for one.

    Raises:
        ValueError: more than one of `share`, `per_class` and `total`, one out of range, or inputs
            that do not match.
    """
    pair = labeled_pair(train, test)
    counts = _counts(pair, share, per_class, total)
    hits = few_label_hits(pair, counts, trials=trials, seed=seed, epochs=epochs, l2=l2)
    scores = hits.mean(axis=1)
    protocol = {
        "method": "linear probe on few labels, drawn class by class",
        "share": None if per_class or total else float(0.01 if share is None else share),
        "per_class": None if per_class is None else int(per_class),
        "labels": int(counts.sum()),
        "trials": int(trials),
        "seed": int(seed),
        "l2": float(l2),
        "train_rows": len(pair.train),
        "test_rows": len(pair.test),
        "width": pair.train.shape[1],
    }
    return {
        "top1": float(scores.mean()),
        "std": float(scores.std(ddof=1)) if len(scores) > 1 else 0.0,
        "balanced": float(np.mean(hits @ balanced_weights(pair.test_classes))),
        "trials": scores.tolist(),
        "protocol": protocol,
    }


def few_label_hits(
    pair: LabeledPair,
    counts: Sequence[int] | np.ndarray,
    *,
    trials: int = 5,
    seed: int = 0,
    epochs: int = 100,
    l2: float = 1.0,
) -> np.ndarray:
    """The test images that a probe on few labels classifies correctly: bool `[trials, m]`.

    Args:
        pair: see `labeled_pair`.
        counts: int `[C]`, number of rows of each class that keep their labels.
        trials: number of draws; default: 5.
        seed: determines the draws, together with the classes, so that they are the same for every
            encoder; default: 0.
        epochs: see `linear_probe`; default: 100.
        l2: see `linear_probe`; default: 1.0.
    """
    hits = []
    for trial in range(positive("trials", trials)):
        rows = draw(pair.train_classes, counts, np.random.default_rng([seed, trial]))
        predicted, _ = predict_classes(pair, rows, epochs=epochs, l2=l2)
        hits.append(predicted == pair.test_classes)
    return np.stack(hits)


def draw(
    classes: np.ndarray, counts: Sequence[int] | np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Draws rows without replacement, `counts[c]` of each class c, in ascending order."""
    rows = [
        generator.choice(np.flatnonzero(classes == c), n, replace=False)
        for c, n in enumerate(counts)
    ]
    return np.sort(np.concatenate(rows))


def curve_totals(rows: int, classes: int) -> list[int]:
    """Numbers of labels of the label curve: 10, 20, 40, …, from one per class to half of all.

    Args:
        rows: number of labeled training images.
        classes: number of classes.
    """
    totals = [10 * 2**i for i in range(20)]
    most = min(rows // 2, MAX_CURVE_LABELS)
    return [total for total in totals if classes <= total <= most]


def proportional_counts(sizes: np.ndarray, total: int) -> np.ndarray:
    """Divides `total` among the classes, in proportion to their sizes.

    Every class gets at least one; the rest after rounding goes to the largest remainders.

    Args:
        sizes: int `[C]`, number of rows of each class.
        total: from C to the sum of `sizes`.
    """
    exact = total * sizes / sizes.sum()
    counts = np.clip(np.floor(exact).astype(int), 1, sizes)
    while counts.sum() < total:
        counts[np.argmax(np.where(counts < sizes, exact - counts, -np.inf))] += 1
    while counts.sum() > total:  # small classes were raised to one
        counts[np.argmax(np.where(counts > 1, counts - exact, -np.inf))] -= 1
    return counts


def _counts(pair, share, per_class, total):
    """The number of rows of each class to draw: int `[C]`."""
    given = {"share": share, "per_class": per_class, "total": total}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        raise ValueError(f"Expected one of share, per_class and total; received {given}.")
    sizes = np.bincount(pair.train_classes)
    if per_class is not None:
        per_class = positive("per_class", per_class)
        if per_class > sizes.min():
            raise ValueError(
                f"per_class must be at most {sizes.min()}, the size of the smallest class, "
                f"{pair.class_names[sizes.argmin()]}; received {per_class}."
            )
        return np.full(len(sizes), per_class)
    if total is not None:
        if not len(sizes) <= positive("total", total) <= sizes.sum():
            raise ValueError(
                f"total must be from {len(sizes)}, one label per class, to {sizes.sum()}; received "
                f"{total}."
            )
        return proportional_counts(sizes, total)
    share = 0.01 if share is None else share
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1; received {share!r}.")
    return np.maximum(1, np.round(share * sizes)).astype(int)
