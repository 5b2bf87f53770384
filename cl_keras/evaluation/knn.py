"""Nearest neighbours by cosine, and the weighted k-NN classifier built on them."""

import numpy as np
import tensorflow as tf

from cl_keras.evaluation.checks import above_zero, labels, normalise, positive, vectors

_GROUP = 16  # bank rows whose maximum stands for them in the first look
_SCORE_BYTES = 16 * 2**20  # a block of scores: larger ones fall out of the cache and are slower


def neighbours(bank, queries, k, *, chunk=None):
    """Finds the `k` rows of the bank with the greatest cosine to each query; exact.

    Equal cosines come in the order of the bank, and a zero vector has cosine 0 to every other.
    (On a GPU that multiplies in TensorFloat-32, as TensorFlow does by default, the cosines carry
    an error of up to 1e-3.)

    Args:
        bank: float [N, D].
        queries: float [Q, D].
        k: how many, from 1 to N.
        chunk: queries at a time. By default as many as keep the block of scores `[chunk, N]` at
            16 MiB (at least one); beside the bank and its normalised copy, at most about three
            such blocks are held.

    Returns:
        `(indices, cosines)`: int64 [Q, k] and float32 [Q, k], the nearest first.

    Raises:
        ValueError: shapes that do not fit, numbers that are not finite, k out of range.
    """
    bank = normalise(vectors("bank", bank))
    queries = normalise(vectors("queries", queries, width=bank.shape[1]))
    k = positive("k", k)
    if k > len(bank):
        raise ValueError(f"k must be at most the size of the bank, {len(bank)}; received {k}.")
    chunk = _chunk(len(bank)) if chunk is None else positive("chunk", chunk)
    columns = tf.constant(bank)
    parts = [
        _nearest(columns, tf.constant(queries[i : i + chunk]), tf.constant(k))
        for i in range(0, len(queries), chunk)
    ]
    indices, cosines = (np.concatenate(p) for p in zip(*parts, strict=True))
    return indices.astype(np.int64), cosines


def _chunk(bank_rows):
    """How many queries keep a block of scores within `_SCORE_BYTES`."""
    return max(1, _SCORE_BYTES // (4 * bank_rows))


@tf.function(reduce_retracing=True)
def _nearest(bank, queries, k):
    """Top k of queries·bankᵀ: first over the maxima of groups, then inside the best k groups.

    Every one of the k greatest scores lies in one of the k groups with the greatest maxima, so
    the answer is exact; groups are taken in ascending order, so that ties keep the bank's order.
    """
    scores = tf.matmul(queries, bank, transpose_b=True)  # [q, N]
    rows, size = tf.shape(scores)[0], tf.shape(scores)[1]
    groups = (size + _GROUP - 1) // _GROUP
    if groups <= 2 * k:  # too few groups for the first look to save anything
        cosines, indices = tf.math.top_k(scores, k)
    else:
        padding = groups * _GROUP - size
        scores = tf.pad(scores, [[0, 0], [0, padding]], constant_values=-2.0)  # below any cosine
        grouped = tf.reshape(scores, [rows, groups, _GROUP])
        best = tf.sort(tf.math.top_k(tf.reduce_max(grouped, axis=2), k).indices, axis=1)  # [q, k]
        inside = tf.gather(grouped, best, batch_dims=1)  # [q, k, 16]
        cosines, place = tf.math.top_k(tf.reshape(inside, [rows, k * _GROUP]), k)
        indices = tf.gather(best, place // _GROUP, batch_dims=1) * _GROUP + place % _GROUP
    return indices, cosines


def knn(train, train_labels, test, test_labels, *, k=200, temperature=0.07, chunk=None):
    """Classifies by the weighted vote of the nearest neighbours (Wu et al. 2018).

    Each of the k nearest training rows votes for its class with weight `exp(s/τ)`, s its cosine
    to the test row. Among equal votes the lower class number wins.

    Args:
        train: float [N, D], the bank.
        train_labels: int [N].
        test: float [M, D].
        test_labels: int [M].
        k: neighbours that vote; a bank that is smaller votes as a whole.
        temperature: τ, above 0.
        chunk: test rows at a time, see `neighbours`.

    Returns:
        `{"top1": share, "top5": share, "protocol": {…}}`, shares from 0 to 1. A class without a
        vote never counts as a hit.

    Raises:
        ValueError: inputs that do not fit together, k < 1, temperature ≤ 0.
    """
    k = positive("k", k)
    return knn_of_several(
        train, train_labels, test, test_labels, ks=[k], temperature=temperature, chunk=chunk
    )[k]


def knn_of_several(train, train_labels, test, test_labels, *, ks, temperature=0.07, chunk=None):
    """`knn` for several k from one search: {k: what `knn` returns}."""
    train = vectors("train", train)
    test = vectors("test", test, width=train.shape[1])
    train_labels = labels("train_labels", train_labels, len(train))
    test_labels = labels("test_labels", test_labels, len(test))
    temperature = above_zero("temperature", temperature)
    used = {k: min(positive("k", k), len(train)) for k in ks}
    indices, cosines = neighbours(train, test, max(used.values()), chunk=chunk)
    candidates, found = train_labels[indices], {}
    for k, n in used.items():
        top1, top5 = _vote(candidates[:, :n], cosines[:, :n], test_labels, temperature)
        protocol = {
            "method": "weighted k-NN, cosine (Wu et al. 2018)",
            "k": n,
            "temperature": temperature,
            "train_rows": len(train),
            "test_rows": len(test),
            "width": train.shape[1],
        }
        if n != k:
            protocol["note"] = f"k was {k}; the bank has only {n} rows"
        found[k] = {"top1": top1, "top5": top5, "protocol": protocol}
    return found


def _vote(candidates, cosines, truth, temperature):
    """Shares of rows whose class is the first, and among the first five, of the vote."""
    classes, flat = np.unique(np.concatenate([candidates.ravel(), truth]), return_inverse=True)
    candidates, truth = flat[: candidates.size].reshape(candidates.shape), flat[candidates.size :]
    weights = np.exp((cosines - cosines[:, :1]).astype(np.float64) / temperature)
    hits1 = hits5 = 0
    for start in range(0, len(truth), 4096):
        part = slice(start, start + 4096)
        votes = _votes(candidates[part], weights[part], len(classes))  # [rows, classes]
        own = np.take_along_axis(votes, truth[part, None], axis=1)
        ahead = (votes > own) | ((votes == own) & (np.arange(len(classes)) < truth[part, None]))
        rank = np.where(own[:, 0] > 0, ahead.sum(axis=1), len(classes) + 5)
        hits1 += int((rank < 1).sum())
        hits5 += int((rank < 5).sum())
    return hits1 / len(truth), hits5 / len(truth)


def _votes(candidates, weights, num_classes):
    """Sums weights [rows, k] by the class of each candidate: [rows, num_classes]."""
    rows = len(candidates)
    cells = np.arange(rows)[:, None] * num_classes + candidates
    votes = np.bincount(cells.ravel(), weights.ravel(), minlength=rows * num_classes)
    return votes.reshape(rows, num_classes)
