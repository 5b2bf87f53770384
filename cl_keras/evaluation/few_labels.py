"""How good the features are where only a few images have a label."""

import numpy as np

from cl_keras.evaluation.checks import labels as check_labels
from cl_keras.evaluation.checks import positive, vectors
from cl_keras.evaluation.linear import linear_probe


def few_labels(
    train,
    train_labels,
    test,
    test_labels,
    *,
    share=None,
    per_class=None,
    trials=5,
    seed=0,
    epochs=1000,
    l2=1.0,
):
    """Fits a linear probe to a few labelled rows of each class, several times over.

    Args:
        train: float [N, D].
        train_labels: int [N].
        test: float [M, D].
        test_labels: int [M].
        share: the share of each class that keeps its labels, above 0 and up to 1 (rounded, at
            least one row per class). 0.01 where neither it nor `per_class` is given.
        per_class: how many rows of each class keep their labels, instead of `share`.
        trials: how many draws.
        seed: the draws are a pure function of it.
        epochs: see `linear_probe`.
        l2: see `linear_probe`.

    Returns:
        `{"top1": mean, "std": deviation, "trials": [share, …], "protocol": {…}}`; the deviation
        is over the draws (n - 1 below the line; 0 for a single trial).

    Raises:
        ValueError: both `share` and `per_class`, one out of range, or inputs that do not fit.
    """
    train = vectors("train", train)
    train_labels = check_labels("train_labels", train_labels, len(train))
    counts = _counts(train_labels, share, per_class)
    scores = []
    for trial in range(positive("trials", trials)):
        rows = draw(train_labels, counts, np.random.default_rng([seed, trial]))
        score = linear_probe(
            train[rows], train_labels[rows], test, test_labels, epochs=epochs, l2=l2
        )
        scores.append(score["top1"])
    protocol = {
        "method": "linear probe on a stratified draw of the labels",
        "share": None if per_class is not None else float(0.01 if share is None else share),
        "per_class": per_class if per_class is None else int(per_class),
        "labels": int(sum(counts.values())),
        "trials": int(trials),
        "seed": int(seed),
        "probe": {k: v for k, v in score["protocol"].items() if k not in ("epochs", "converged")},
    }
    std = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return {"top1": float(np.mean(scores)), "std": std, "trials": scores, "protocol": protocol}


def draw(labels, counts, generator):
    """Rows drawn without replacement, `counts[c]` of each class c, in ascending order."""
    rows = [
        generator.choice(np.flatnonzero(labels == c), n, replace=False) for c, n in counts.items()
    ]
    return np.sort(np.concatenate(rows))


def _counts(labels, share, per_class):
    """How many rows of each class are drawn: {class: rows}."""
    if share is not None and per_class is not None:
        raise ValueError(
            f"Expected share or per_class; received both: share={share!r}, per_class={per_class!r}."
        )
    classes, sizes = np.unique(labels, return_counts=True)
    if per_class is not None:
        per_class = positive("per_class", per_class)
        if per_class > sizes.min():
            raise ValueError(
                f"per_class must be at most the size of the smallest class; received {per_class}, "
                f"and class {classes[sizes.argmin()]} has {sizes.min()} rows."
            )
        return {int(c): per_class for c in classes}
    share = 0.01 if share is None else share
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1; received {share!r}.")
    return {int(c): max(1, round(share * int(n))) for c, n in zip(classes, sizes, strict=True)}
