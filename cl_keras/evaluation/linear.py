"""The linear probe: multinomial logistic regression on frozen features."""

import numpy as np
import tensorflow as tf

from cl_keras.evaluation.checks import labels as check_labels
from cl_keras.evaluation.checks import positive, vectors
from cl_keras.evaluation.lbfgs import minimise

_ROWS = 65_536  # rows of logits held at a time


def fit_linear_head(features, labels, num_classes=None, *, epochs=1000, l2=1.0):
    """Fits a linear classifier to frozen features, for a probe or for serving.

    With features x standardised to mean 0 and deviation 1 by the training set, minimises

        Σ_i -log softmax(x_i·W + b)[y_i]  +  l2/2 · ‖W‖²

    by full-batch L-BFGS from W = 0, b = 0: convex and without chance, so no seed. `l2` = 1 is a
    unit Gaussian prior on each weight (scikit-learn's C = 1/l2). The standardisation is folded
    into what is returned.

    Args:
        features: float [N, D].
        labels: int [N], 0 to num_classes - 1.
        num_classes: C; by default the greatest label plus one.
        epochs: the most passes over the features.
        l2: weight of the penalty, ≥ 0; the bias is not penalised.

    Returns:
        `(kernel, bias)`: float32 [D, C] and [C]; logits are `features @ kernel + bias`.

    Raises:
        ValueError: inputs that do not fit together, a label outside num_classes, l2 < 0.
    """
    kernel, bias, _ = _fit(features, labels, num_classes, epochs=epochs, l2=l2)
    return kernel, bias


def linear_probe(train, train_labels, test, test_labels, *, epochs=1000, l2=1.0):
    """Scores frozen features by the test accuracy of a linear classifier.

    The features come from the encoder in inference mode, one view of each image, without
    augmentation. See `fit_linear_head` for the classifier.

    Args:
        train: float [N, D].
        train_labels: int [N].
        test: float [M, D].
        test_labels: int [M].
        epochs: the most passes over the training features.
        l2: weight of the penalty, ≥ 0.

    Returns:
        `{"top1": share, "protocol": {…}}`; the protocol says how many passes were made and
        whether the fit converged.

    Raises:
        ValueError: as `fit_linear_head`.
    """
    train = vectors("train", train)
    test = vectors("test", test, width=train.shape[1])
    test_labels = check_labels("test_labels", test_labels, len(test))
    kernel, bias, minimum = _fit(train, train_labels, None, epochs=epochs, l2=l2)
    hits = (test @ kernel + bias).argmax(axis=1) == test_labels
    protocol = {
        "method": "multinomial logistic regression on frozen, standardised features",
        "optimizer": "full-batch L-BFGS",
        "epochs": minimum.evaluations,
        "converged": minimum.converged,
        "l2": float(l2),
        "augmentation": "none",
        "train_rows": len(train),
        "test_rows": len(test),
        "width": train.shape[1],
    }
    return {"top1": float(hits.mean()), "protocol": protocol}


def _fit(features, labels, num_classes, *, epochs, l2):
    """Kernel, bias and the `Minimum` they were read from."""
    features = vectors("features", features)
    labels = check_labels("labels", labels, len(features))
    classes = int(labels.max()) + 1 if num_classes is None else positive("num_classes", num_classes)
    if labels.max() >= classes:
        raise ValueError(
            f"labels must be below num_classes = {classes}; received {int(labels.max())}."
        )
    if not np.isfinite(l2) or l2 < 0:
        raise ValueError(f"l2 must be a number of at least 0; received {l2!r}.")
    mean, scale = _standardisation(features)
    objective = _objective((features - mean) / scale, labels, classes, l2)
    start = np.zeros((features.shape[1] + 1) * classes)
    minimum = minimise(objective, start, evaluations=positive("epochs", epochs))
    weights = minimum.point.reshape(-1, classes)  # [D + 1, C], the bias last
    kernel = weights[:-1] / scale[:, None]
    return kernel.astype(np.float32), (weights[-1] - mean @ kernel).astype(np.float32), minimum


def _standardisation(features):
    """Mean and deviation [D] in float64; a dimension that does not vary keeps scale 1."""
    mean = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64)
    still = scale <= 1e-6 * np.maximum(np.abs(mean), scale.max())
    return mean, np.where(still, 1.0, scale)


def _objective(features, labels, classes, l2):
    """The penalised mean cross-entropy, as a function of the flat weights [(D + 1)·C]."""
    rows, width = features.shape
    blocks = [
        (
            tf.constant(features[i : i + _ROWS], tf.float32),
            tf.constant(labels[i : i + _ROWS], tf.int32),
        )
        for i in range(0, rows, _ROWS)
    ]

    def objective(flat):
        weights = flat.reshape(width + 1, classes)
        kernel, bias = tf.constant(weights[:-1], tf.float32), tf.constant(weights[-1], tf.float32)
        value, gradient = 0.0, np.zeros_like(weights)
        for x, y in blocks:
            loss, by_kernel, by_bias = _cross_entropy(x, y, kernel, bias)
            value += float(loss)
            gradient[:-1] += by_kernel.numpy()
            gradient[-1] += by_bias.numpy()
        value += 0.5 * l2 * float(np.sum(weights[:-1] ** 2))
        gradient[:-1] += l2 * weights[:-1]
        return value / rows, gradient.ravel() / rows

    return objective


@tf.function(reduce_retracing=True)
def _cross_entropy(x, y, kernel, bias):
    """Summed cross-entropy (float64) and its gradients by kernel [D, C] and bias [C]."""
    logits = tf.matmul(x, kernel) + bias
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    residual = tf.nn.softmax(logits) - tf.one_hot(y, tf.shape(kernel)[1])  # [rows, C]
    by_kernel = tf.matmul(x, residual, transpose_a=True)
    return tf.reduce_sum(tf.cast(losses, tf.float64)), by_kernel, tf.reduce_sum(residual, axis=0)
