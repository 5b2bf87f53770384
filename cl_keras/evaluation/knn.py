"""Nearest neighbors by cosine, and the weighted k-NN classifier built on them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from cl_keras import bounds
from cl_keras.evaluation.checks import above_zero, normalize, positive, vectors
from cl_keras.evaluation.features import Features
from cl_keras.evaluation.labeled import LabeledPair, balanced_accuracy, labeled_pair

_GROUP = 16  # bank rows that are first searched by their maximum
_FEW = 2**26  # scores for which compiled loops, which take a while to load, are not worth it
_SCORE_BYTES = 16 * 2**20  # of a block of scores; larger blocks exceed the cache and are slower


def neighbors(
    bank: np.ndarray, queries: np.ndarray, k: int, *, chunk: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the `k` rows of the bank with the highest cosine to each query; exact.

    Equal cosines are in the order of the bank, and a zero vector has cosine 0 to all others. (On a
    GPU that multiplies in TensorFloat-32, TensorFlow's default, cosines have an error of up to
    1e-3.)

    Args:
        bank: float `[n, d]`.
        queries: float `[q, d]`.
        k: number of neighbors, from 1 to n.
        chunk: number of queries at a time; default: as many as keep the block of scores
            `[chunk, n]` at 16 MiB (at least one). At most three such blocks are held, besides the
            bank and its normalized copies.

    Returns:
        `(indices, cosines)`: int64 `[q, k]` and float32 `[q, k]`, nearest first.

    Raises:
        ValueError: shapes that do not match, numbers that are not finite, or k out of range.
    """
    bank = normalize(vectors("bank", bank))
    queries = normalize(vectors("queries", queries, width=bank.shape[1]))
    k = positive("k", k)
    if k > len(bank):
        raise ValueError(f"k must be at most the size of the bank, {len(bank)}; received {k}.")
    chunk = _chunk(len(bank)) if chunk is None else positive("chunk", chunk)
    columns = tf.transpose(bank)  # a product with columns is not repacked for each chunk
    blocks = [tf.constant(queries[i : i + chunk]) for i in range(0, len(queries), chunk)]
    many = len(bank) * len(queries) > _FEW and not tf.config.list_logical_devices("GPU")
    parts = _with_kernel(columns, blocks, k) if many else _in_graph(columns, blocks, k)
    indices, cosines = (np.concatenate(p) for p in zip(*parts, strict=True))
    return indices.astype(np.int64), cosines


def _chunk(bank_rows):
    """Number of queries that keep a block of scores within `_SCORE_BYTES`."""
    return max(1, _SCORE_BYTES // (4 * bank_rows))


def _with_kernel(columns, blocks, k):
    """(indices, cosines) of each block of queries, selected by a compiled loop on all cores."""
    from cl_keras.evaluation.knn_kernel import select  # slow to import

    cores = bounds.cores()
    with ThreadPoolExecutor(cores) as pool:
        for block in blocks:
            scores = np.asarray(tf.matmul(block, columns))  # a view
            rows = len(scores)
            indices, cosines = np.empty([rows, k], np.int64), np.empty([rows, k], np.float32)
            step = -(-rows // cores)
            slices = [slice(start, start + step) for start in range(0, rows, step)]
            results = [pool.submit(select, scores[s], k, indices[s], cosines[s]) for s in slices]
            for result in results:
                result.result()
            yield indices, cosines


def _in_graph(columns, blocks, k):
    """The same by TensorFlow, on a GPU if there is one."""
    whole = columns.shape[1] // _GROUP * _GROUP
    grouped, rest = columns[:, :whole], columns[:, whole:]
    return [_nearest(grouped, rest, block, tf.constant(k)) for block in blocks]


@tf.function(reduce_retracing=True)
def _nearest(grouped, rest, queries, k):
    """Top k of the products with all columns: by maxima of groups, then within the best k groups.

    Each of the k highest scores is in one of the k groups with the highest maxima, or in the rest,
    so the result is exact; groups are in ascending order, so that ties keep the bank's order.
    """
    scores, of_rest = tf.matmul(queries, grouped), tf.matmul(queries, rest)
    rows, size = tf.shape(scores)[0], tf.shape(scores)[1]
    groups = size // _GROUP
    if groups <= 2 * k:  # too few groups to save anything
        cosines, indices = tf.math.top_k(tf.concat([scores, of_rest], axis=1), k)
    else:
        scores = tf.reshape(scores, [rows, groups, _GROUP])
        best = tf.math.top_k(tf.reduce_max(scores, axis=2), k, sorted=False).indices
        best = tf.sort(best, axis=1)  # [q, k]
        inside = tf.reshape(tf.gather(scores, best, batch_dims=1), [rows, k * _GROUP])
        cosines, column = tf.math.top_k(tf.concat([inside, of_rest], axis=1), k)
        beyond = k * _GROUP
        group = tf.gather(best, tf.minimum(column, beyond - 1) // _GROUP, batch_dims=1)
        in_group = group * _GROUP + column % _GROUP
        indices = tf.where(column < beyond, in_group, size + column - beyond)
    return indices, cosines


def knn(
    train: Features,
    test: Features,
    *,
    k: int = 200,
    temperature: float = 0.07,
    chunk: int | None = None,
) -> dict:
    """Classifies by a weighted vote of the nearest neighbors (Wu et al. 2018).

    Each of the k nearest training rows votes for its class with weight `exp(s/τ)`, where s is its
    cosine with the test row. The lower class wins ties.

    Args:
        train: the labeled bank. Classes are matched by name if both sets have names.
        test: the labeled features to classify.
        k: number of neighbors that vote, or the whole bank if it is smaller; default: 200.
        temperature: τ, above 0; default: 0.07.
        chunk: number of test rows at a time, see `neighbors`; default: None.

    Returns:
        `{"top1": share, "top5": share, "balanced": share, "protocol": {…}}`, shares from 0 to 1;
        `balanced` is the mean over classes of their top-1 accuracy. A class without votes never
        counts as a hit.

    Raises:
        ValueError: inputs that do not match, k < 1, or temperature ≤ 0.
    """
    k = positive("k", k)
    pair = labeled_pair(train, test)
    vote = vote_of_several(pair, ks=[k], temperature=temperature, chunk=chunk)[k]
    used = min(k, len(pair.train))
    protocol = {
        "method": "weighted k-NN, cosine (Wu et al. 2018)",
        "k": used,
        "temperature": float(temperature),
        "train_rows": len(pair.train),
        "test_rows": len(pair.test),
        "width": pair.train.shape[1],
    }
    if used != k:
        protocol["note"] = f"k was {k}; the bank has only {used} rows"
    return {
        "top1": float(np.mean(vote.rank < 1)),
        "top5": float(np.mean(vote.rank < 5)),
        "balanced": balanced_accuracy(vote.rank < 1, pair.test_classes),
        "protocol": protocol,
    }


class Vote(NamedTuple):
    """The vote of the neighbors of each test row.

    Attributes:
        winner: int64 `[m]`, the class with the most votes.
        rank: int64 `[m]`, number of classes before the true one; too large for a hit if that has no
            votes.
    """

    winner: np.ndarray
    rank: np.ndarray


def vote_of_several(
    pair: LabeledPair, *, ks: Sequence[int], temperature: float = 0.07, chunk: int | None = None
) -> dict[int, Vote]:
    """The votes for several k, from a single search: {k: `Vote`}."""
    temperature = above_zero("temperature", temperature)
    used = {k: min(positive("k", k), len(pair.train)) for k in ks}
    indices, cosines = neighbors(pair.train, pair.test, max(used.values()), chunk=chunk)
    candidates, num_classes = pair.train_classes[indices], len(pair.class_names)
    weights = np.exp((cosines - cosines[:, :1]).astype(np.float64) / temperature)
    return {
        k: _vote(candidates[:, :n], weights[:, :n], pair.test_classes, num_classes)
        for k, n in used.items()
    }


def _vote(candidates, weights, truth, num_classes):
    """`Vote` from the classes and weights of the neighbors, both `[m, k]`."""
    winners, ranks = [], []
    for start in range(0, len(truth), 4096):
        block = slice(start, start + 4096)
        votes = _votes(candidates[block], weights[block], num_classes)  # [rows, classes]
        true = truth[block, None]
        own = np.take_along_axis(votes, true, axis=1)
        ahead = (votes > own) | ((votes == own) & (np.arange(num_classes) < true))
        ranks.append(np.where(own[:, 0] > 0, ahead.sum(axis=1), num_classes + 5))
        winners.append(votes.argmax(axis=1))
    return Vote(np.concatenate(winners), np.concatenate(ranks))


def _votes(candidates, weights, num_classes):
    """Sums weights `[rows, k]` by the class of each candidate: `[rows, num_classes]`."""
    rows = len(candidates)
    cells = np.arange(rows)[:, None] * num_classes + candidates
    votes = np.bincount(cells.ravel(), weights.ravel(), minlength=rows * num_classes)
    return votes.reshape(rows, num_classes)
