"""The linear probe: multinomial logistic regression on frozen features."""

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from cl_keras.evaluation.checks import labels as check_labels
from cl_keras.evaluation.checks import positive, vectors
from cl_keras.evaluation.features import Features
from cl_keras.evaluation.labeled import LabeledPair, balanced_accuracy, labeled_pair

ROWS = 8_192
"""Number of rows of a block, which one core takes at a time."""

_TOLERANCE = 1e-5  # for the largest entry of the gradient of the mean loss

MAX_PRECONDITIONED = 320
"""Number of rows or dimensions, whichever is smaller, up to which the eigenvectors cost less than
the passes they save; three times as many if the other number is at least eight times as large, so
that passes are expensive."""


def fit_linear_head(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int | None = None,
    *,
    epochs: int = 1000,
    l2: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Fits a linear classifier to frozen features, for a probe or for serving.

    With features x standardized to mean 0 and deviation 1 on the training set, it minimizes

        Σ_i -log softmax(x_i·W + b)[y_i]  +  l2/2 · ‖W‖²

    by full-batch L-BFGS from W = 0, b = 0. The problem is convex and the fit deterministic, so
    there is no seed. `l2` = 1 is a unit Gaussian prior on each weight (scikit-learn's C = 1/l2).
    The standardization is folded into the result.

    Args:
        features: float `[n, d]`.
        labels: int `[n]`, 0 to num_classes - 1.
        num_classes: C; default: None, the largest label plus one.
        epochs: maximum number of passes over the features, except to finish a line search; default:
            1000.
        l2: weight of the penalty, ≥ 0; the bias is not penalized; default: 1.0.

    Returns:
        `(kernel, bias)`: float32 `[d, C]` and `[C]`; logits are `features @ kernel + bias`.

    Raises:
        ValueError: inputs that do not match, a label outside num_classes, or l2 < 0.
    """
    kernel, bias, _ = _fit(features, labels, num_classes, epochs=epochs, l2=l2)
    return kernel, bias


def linear_probe(train: Features, test: Features, *, epochs: int = 1000, l2: float = 1.0) -> dict:
    """The test accuracy of a linear classifier on frozen features.

    The features come from the encoder in inference mode, one per image, without augmentation. See
    `fit_linear_head` for the classifier.

    Args:
        train: labeled features. Classes are matched by name if both sets have names.
        test: labeled features.
        epochs: maximum number of passes over the training features; default: 1000.
        l2: weight of the penalty, ≥ 0; default: 1.0.

    Returns:
        `{"top1": share, "balanced": share, "protocol": {…}}`; `balanced` is the mean over classes
        of their accuracy, and the protocol has the number of passes and whether the fit converged.

    Raises:
        ValueError: as in `fit_linear_head`, or test classes missing in training.
    """
    pair = labeled_pair(train, test)
    predicted, minimum = predict_classes(pair, epochs=epochs, l2=l2)
    hits = predicted == pair.test_classes
    protocol = {
        "method": "multinomial logistic regression on frozen, standardized features",
        "optimizer": "full-batch L-BFGS",
        "epochs": minimum.nfev,
        "converged": bool(np.abs(minimum.jac).max() <= _TOLERANCE),
        "l2": float(l2),
        "augmentation": "none",
        "train_rows": len(pair.train),
        "test_rows": len(pair.test),
        "width": pair.train.shape[1],
    }
    balanced = balanced_accuracy(hits, pair.test_classes)
    return {"top1": float(hits.mean()), "balanced": balanced, "protocol": protocol}


def predict_classes(
    pair: LabeledPair, rows: np.ndarray | None = None, *, epochs: int = 1000, l2: float = 1.0
) -> tuple[np.ndarray, Any]:
    """Fits the probe to some training rows and classifies all test rows.

    Args:
        pair: see `labeled_pair`.
        rows: int `[n]`, the training rows that keep their label; default: None, all.
        epochs: see `linear_probe`; default: 1000.
        l2: see `linear_probe`; default: 1.0.

    Returns:
        `(predicted, minimum)`: int64 `[m]`, classes of `pair`; and the result of `scipy.optimize`.
    """
    kept = slice(None) if rows is None else rows
    num_classes = len(pair.class_names)
    kernel, bias, minimum = _fit(
        pair.train[kept], pair.train_classes[kept], num_classes, epochs=epochs, l2=l2
    )
    bias = np.where(np.bincount(pair.train_classes[kept], minlength=num_classes), bias, -np.inf)
    return (pair.test @ kernel + bias).argmax(axis=1), minimum


def _fit(features, labels, num_classes, *, epochs, l2):
    """Kernel, bias and the `scipy.optimize.OptimizeResult` they come from."""
    features = vectors("features", features)
    labels = check_labels("labels", labels, len(features))
    classes = _number_of(labels) if num_classes is None else positive("num_classes", num_classes)
    if labels.max() >= classes:
        raise ValueError(
            f"labels must be below num_classes = {classes}; received {int(labels.max())}."
        )
    if not np.isfinite(l2) or l2 < 0:
        raise ValueError(f"l2 must be a number of at least 0; received {l2!r}.")
    with _one_thread(), ThreadPoolExecutor() as pool:
        over_blocks = pool.map if len(features) > ROWS else map
        return _minimized(features, labels, classes, over_blocks, epochs=epochs, l2=l2)


def _minimized(features, labels, classes, over_blocks, *, epochs, l2):
    import scipy.optimize  # takes a fifth of a second, so not with `import cl_keras`

    mean, scale = _standardization(features)
    features = (features - mean) / scale
    basis, penalty = np.eye(features.shape[1]), np.full(features.shape[1], float(l2))
    if _is_preconditioned(*features.shape):
        basis, penalty = _preconditioner(features, classes, l2)  # [D, r], [r]
        features = features @ basis
    objective = _objective(features, labels, classes, penalty, over_blocks)
    start = np.zeros((basis.shape[1] + 1) * classes)
    budget = positive("epochs", epochs)
    options = {"gtol": _TOLERANCE, "ftol": 0.0, "maxfun": budget, "maxiter": budget}
    minimum = scipy.optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", options=options
    )
    weights = minimum.x.reshape(-1, classes)  # [r + 1, C], the bias last
    kernel = basis @ weights[:-1] / scale[:, None]
    return kernel.astype(np.float32), (weights[-1] - mean @ kernel).astype(np.float32), minimum


def _is_preconditioned(rows, width):
    fewer, more = sorted([rows, width])
    return fewer <= MAX_PRECONDITIONED * (3 if more >= 8 * fewer else 1)


def operations(rows: int, width: int, classes: int, passes: int) -> float:
    """About how many additions and multiplications a fit takes, on one core.

    Args:
        rows: number of training rows.
        width: width of the features.
        classes: number of classes.
        passes: number of passes over the features.
    """
    fewer, begin = width, 0.0
    if _is_preconditioned(rows, width):
        fewer = min(rows, width)
        begin = 4.0 * rows * width * fewer + 12.0 * fewer**3  # products and eigenvectors
    return begin + 4.0 * passes * rows * fewer * classes


def _one_thread():
    """Limits BLAS to one thread: a fit has many small products, and on shared cores, threads that
    wait for each other cost ten times what they save.
    """
    return _threadpools().limit(limits=1, user_api="blas")


@functools.cache
def _threadpools():
    import scipy.linalg  # noqa: F401 - loads its own BLAS, which the controller must see
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


def _number_of(labels):
    """The largest label plus one, unless labels are ids rather than numbers of classes."""
    occurring, greatest = len(np.unique(labels)), int(labels.max())
    if greatest >= 1000 and greatest > 10 * occurring:
        raise ValueError(
            f"labels must number the classes from 0; received labels up to {greatest} for only "
            f"{occurring} classes, which would need a column of weights for each number below. "
            "Number them: names, labels = np.unique(labels, return_inverse=True)."
        )
    return greatest + 1


def _standardization(features):
    """Mean and deviation `[d]` in float64; a constant dimension keeps scale 1."""
    mean = features.mean(axis=0, dtype=np.float64)
    scale = features.std(axis=0, dtype=np.float64)
    still = scale <= 1e-6 * np.maximum(np.abs(mean), scale.max())
    return mean, np.where(still, 1.0, scale)


def _preconditioner(features, classes, l2):
    """A basis `[d, r]` of all directions in which the features vary, and the penalty `[r]` in it.

    In the basis of the eigenvectors of XᵀX, each scaled by the curvature of the objective along it,
    about λ·p(1 - p) + l2 with p = 1/C, the objective is nearly isotropic, so L-BFGS takes tens of
    passes instead of hundreds. The minimum is the same, since W lies in the span of the features.
    With fewer rows than dimensions, the smaller XXᵀ is used.
    """
    rows, width = features.shape
    wide = rows < width
    x = features.astype(np.float64)
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)  # ascending
    kept = values > 1e-10 * max(values[-1], 1e-30)
    values, vectors = values[kept], vectors[:, kept]
    directions = x.T @ vectors / np.sqrt(values) if wide else vectors
    curvature = (values * (1 - 1 / classes) / classes + l2) / rows
    return directions / np.sqrt(curvature), l2 / curvature


def _objective(features, labels, classes, penalty, over_blocks):
    """The penalized mean cross-entropy, as a function of the flat weights `[(r + 1)·C]`.

    `over_blocks` is `map`, or that of threads, which gives results in the same order.
    """
    penalty = penalty[:, None]
    rows, width = features.shape
    features = np.asarray(features, np.float32)
    blocks = [(features[i : i + ROWS], labels[i : i + ROWS]) for i in range(0, rows, ROWS)]

    def objective(flat):
        weights = flat.reshape(width + 1, classes)
        kernel, bias = weights[:-1].astype(np.float32), weights[-1].astype(np.float32)
        value, gradient = 0.0, np.zeros_like(weights)
        terms = over_blocks(lambda block: _cross_entropy(*block, kernel, bias), blocks)
        for loss, by_kernel, by_bias in terms:
            value += loss
            gradient[:-1] += by_kernel
            gradient[-1] += by_bias
        value += 0.5 * float(np.sum(penalty * weights[:-1] ** 2))
        gradient[:-1] += penalty * weights[:-1]
        return value / rows, gradient.ravel() / rows

    return objective


def _cross_entropy(x, y, kernel, bias):
    """Summed cross-entropy (float64) and its gradients by kernel `[d, C]` and bias `[C]`.

    In NumPy, since most fits are so small that calling TensorFlow would dominate.
    """
    logits = x @ kernel + bias
    logits -= logits.max(axis=1, keepdims=True)
    rows = np.arange(len(y))
    own = logits[rows, y].astype(np.float64)
    residual = np.exp(logits, out=logits)
    totals = residual.sum(axis=1, keepdims=True)
    loss = float(np.sum(np.log(totals[:, 0].astype(np.float64)) - own))
    residual /= totals
    residual[rows, y] -= 1
    return loss, x.T @ residual, residual.sum(axis=0, dtype=np.float64)
