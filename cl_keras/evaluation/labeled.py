"""Two labeled sets of features, with the same numbering of their classes."""

import dataclasses

import numpy as np

from cl_keras.evaluation import checks
from cl_keras.evaluation.features import Features


@dataclasses.dataclass(frozen=True)
class LabeledPair:
    """Training and test features with the same numbering of classes.

    Attributes:
        train: float32 `[n, d]`.
        train_classes: int64 `[n]`, 0 … C-1.
        test: float32 `[m, d]`.
        test_classes: int64 `[m]`, in the same numbering.
        class_names: C names, or the numbers of classes without names.
    """

    train: np.ndarray
    train_classes: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray
    class_names: tuple[str, ...]


def labeled_pair(train: Features, test: Features) -> LabeledPair:
    """Checks two sets of features, and numbers the classes that occur in training from 0.

    If both sets name their classes, they are matched by name: class folders of two data sets are
    numbered independently, so a missing class would shift the others.

    Args:
        train: labeled features to fit a classifier to; rows labeled -1 are left out.
        test: labeled features to evaluate it on; likewise.

    Raises:
        TypeError: something other than `Features`.
        ValueError: no labeled rows, vectors or labels that do not match, or test classes missing in
            training.
    """
    for name, part in (("train", train), ("test", test)):
        if not isinstance(part, Features):
            raise TypeError(
                f"{name} must be Features, as returned by evaluation.features; received "
                f"{type(part).__name__}. Wrap arrays: evaluation.Features(vectors, labels)."
            )
    train, test = _known("train", train), _known("test", test)
    bank = checks.vectors("train", train.vectors)
    queries = checks.vectors("test", test.vectors, width=bank.shape[1])
    train_labels = checks.labels("train labels", train.labels, len(bank))
    test_labels = checks.labels("test labels", test.labels, len(queries))
    if train.class_names and test.class_names:
        train_keys = np.asarray(train.class_names, dtype=str)[train_labels]
        test_keys = np.asarray(test.class_names, dtype=str)[test_labels]
    else:
        train_keys, test_keys = train_labels, test_labels
    known, train_classes = np.unique(train_keys, return_inverse=True)
    unknown = np.setdiff1d(test_keys, known)
    if unknown.size:
        shown = ", ".join(map(str, unknown[:5])) + (", …" if unknown.size > 5 else "")
        raise ValueError(
            f"The test images have {unknown.size} classes that no training image has: {shown}. "
            "Leave out those test images, or add training images of these classes."
        )
    names = known if known.dtype.kind == "U" else _names(train.class_names, known)
    return LabeledPair(
        bank,
        train_classes.astype(np.int64),
        queries,
        np.searchsorted(known, test_keys).astype(np.int64),
        tuple(map(str, names)),
    )


def _known(name, part):
    """The labeled rows; -1 means unlabeled."""
    labels = None if part.labels is None else np.asarray(part.labels)
    if labels is None or labels.shape != (len(part.vectors),) or not (labels == -1).any():
        return part
    if (labels == -1).all():
        raise ValueError(f"{name} must have labels; each of its {len(labels)} is -1, for none.")
    return part.rows(np.flatnonzero(labels != -1))


def _names(class_names, labels):
    """The names of labels, or the labels themselves if they have none."""
    return [
        class_names[label] if class_names and label < len(class_names) else label
        for label in labels
    ]


def balanced_accuracy(hits: np.ndarray, classes: np.ndarray) -> float:
    """The mean over classes of their share of hits.

    Args:
        hits: bool `[m]`.
        classes: int `[m]`, the true class of each row.
    """
    return float(np.sum(hits * balanced_weights(classes)))


def balanced_weights(classes: np.ndarray) -> np.ndarray:
    """Weights float64 `[m]` that sum to 1 and weigh all classes equally."""
    _, numbers, counts = np.unique(classes, return_inverse=True, return_counts=True)
    return 1 / (len(counts) * counts[numbers])
