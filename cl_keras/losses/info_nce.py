"""InfoNCE: a softmax over candidates, one of which is the positive.

    L(q) = -log( exp(s(q, k+)/τ) / (exp(s(q, k+)/τ) + Σ_i exp(s(q, k_i)/τ)) )

van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding";
with cosines and both views of a batch, it is the NT-Xent of Chen et al. 2020 (SimCLR).

With many scores, `nt_xent`, `info_nce_in_batch`, `info_nce` against a queue, and
`softmax_over_bank` compute them tile by tile and keep none; see `losses.tiles`.
"""

from collections.abc import Callable

import tensorflow as tf

from cl_keras import distribute
from cl_keras.losses.panels import log_sum_exp_of_others
from cl_keras.losses.queries import Queries, from_log_sum_exp, softmax_over_candidates
from cl_keras.losses.tiles import (
    Table,
    by_tiles,
    log_sum_exp_over_keys,
    log_sum_exp_over_table,
    rows_of,
)
from cl_keras.negatives.in_batch import in_batch
from cl_keras.similarity import check_temperature, cosine, normalize


def nt_xent(view0: tf.Tensor, view1: tf.Tensor, *, temperature: float = 0.1) -> Queries:
    """NT-Xent, the loss of SimCLR: each view must find the other view of its image.

    The candidates are all 2B views of the global batch except the query itself. SimCLR's loss is
    the mean of `losses`; in a replica context, the mean over all replicas.

    NOTE: the official TensorFlow code adds the means of the two directions, which is twice the mean
    of the paper (equation 1 and algorithm 1) that is computed here.

    Args:
        view0: `[b, d]`, one view of each image of this replica; need not be normalized.
        view1: `[b, d]`, the other view.
        temperature: τ, above 0; default: 0.1.

    Returns:
        `Queries` `[2b]`, those of view0 first.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    temperature = check_temperature(temperature)
    queries = 2 * rows_of(view0)
    if not by_tiles(queries, queries * distribute.num_replicas(), temperature):
        return softmax_over_candidates(*in_batch(view0, view1), temperature)
    view0, view1 = normalize(view0), normalize(view1)
    positive = tf.reduce_sum(view0 * view1, axis=1) / temperature
    if distribute.num_replicas() == 1:
        negatives = _others_on_this_replica(view0, view1, temperature)
    else:
        negatives = _others_on_all_replicas(view0, view1, temperature)
    return from_log_sum_exp(tf.tile(positive, [2]), negatives)


def _others_on_this_replica(view0, view1, temperature):
    pairs = tf.reshape(tf.stack([view0, view1], axis=1), [-1, view0.shape[1]])
    found = log_sum_exp_of_others(pairs, temperature)
    # From pairs of views to all of view0, then all of view1.
    return type(found)(*(tf.concat([each[0::2], each[1::2]], axis=0) for each in found))


def _others_on_all_replicas(view0, view1, temperature):
    queries = tf.concat([view0, view1], axis=0) / temperature
    keys = tf.concat([distribute.gather(view0), distribute.gather(view1)], axis=0)
    own = distribute.own_rows(tf.shape(view0)[0])
    both = tf.stack([own, tf.shape(keys)[0] // 2 + own], axis=1)  # an image's two views
    return log_sum_exp_over_keys(queries, keys, tf.tile(both, [2, 1]))


def info_nce_in_batch(query: tf.Tensor, key: tf.Tensor, *, temperature: float) -> Queries:
    """InfoNCE of each query against the keys of the global batch, one of which is its own.

    Args:
        query: `[b, d]` of this replica; need not be normalized.
        key: `[b, d]`, the positive of each query; the keys of all replicas are the candidates, and
            receive gradients.
        temperature: τ, above 0.

    Returns:
        `Queries` `[b]`.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    temperature = check_temperature(temperature)
    queries, own = rows_of(query), distribute.own_rows(tf.shape(query)[0])
    if not by_tiles(queries, queries * distribute.num_replicas(), temperature):
        return softmax_over_candidates(own, cosine(query, distribute.gather(key)), temperature)
    query, key = normalize(query) / temperature, normalize(key)
    negatives = log_sum_exp_over_keys(query, distribute.gather(key), own[:, None])
    return from_log_sum_exp(tf.reduce_sum(query * key, axis=1), negatives)


def info_nce(
    query: tf.Tensor,
    positive: tf.Tensor,
    negatives: tf.Tensor | Table,
    *,
    temperature: float = 0.07,
    similarity: Callable = cosine,
) -> Queries:
    """InfoNCE of each query against its positive and many negatives.

    Args:
        query: `[n, d]`; need not be normalized.
        positive: `[n, d]`, one for each query.
        negatives: a `KeyQueue`, whose keys get no gradient; or `[m, d]`, shared by all queries; or
            `[n, m, d]`, one set for each query.
        temperature: τ, above 0; default: 0.07.
        similarity: function of `[..., n, d]` and `[..., m, d]` that gives `[..., n, m]`; default:
            the cosine, which is always used with a queue.

    Returns:
        `Queries` `[n]`.

    Raises:
        ValueError: if the temperature is not above 0, or `negatives` has another rank.
    """
    temperature = check_temperature(temperature)
    if hasattr(negatives, "rows"):
        return _info_nce_against_table(query, positive, negatives, temperature)
    query, positive, negatives = map(tf.convert_to_tensor, (query, positive, negatives))
    if negatives.shape.rank not in (2, 3):
        raise ValueError(
            "negatives must be [m, d], shared by all queries, or [n, m, d], one set for each "
            f"query; received shape {tuple(negatives.shape)}."
        )
    each = query[:, None, :]
    to_positive = similarity(each, positive[:, None, :])[:, 0]
    if negatives.shape.rank == 2:
        to_negatives = similarity(query, negatives)
    else:
        to_negatives = similarity(each, negatives)[:, 0]
    return _first_of(to_positive, to_negatives, temperature)


def _info_nce_against_table(query, positive, table, temperature):
    query, positive = normalize(query), normalize(positive)
    to_positive = tf.reduce_sum(query * positive, axis=1)
    if by_tiles(rows_of(query), table.size, temperature):
        negatives = log_sum_exp_over_table(query / temperature, table, None)
        return from_log_sum_exp(to_positive / temperature, negatives)
    to_negatives = _to_all_rows(query, table)
    return _first_of(to_positive[:, None], to_negatives, temperature)


def _first_of(to_positive, to_negatives, temperature):
    scores = tf.concat([to_positive, to_negatives], axis=1)
    return softmax_over_candidates(tf.zeros_like(scores[:, 0], tf.int32), scores, temperature)


def nce(
    query: tf.Tensor,
    positive: tf.Tensor,
    negative: tf.Tensor,
    *,
    temperature: float = 0.07,
    similarity: Callable = cosine,
) -> Queries:
    """NCE with one noise term: each query against its positive and a single negative.

        L(q) = -log( exp(s(q, k+)/τ) / (exp(s(q, k+)/τ) + exp(s(q, k-)/τ)) )

    Args:
        query: `[n, d]`.
        positive: `[n, d]`.
        negative: `[n, d]`, one for each query.
        temperature: τ, above 0; default: 0.07.
        similarity: function of `[..., n, d]` and `[..., m, d]` that gives `[..., n, m]`; default:
            the cosine.

    Returns:
        `Queries` `[n]`.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    negative = tf.convert_to_tensor(negative)[:, None, :]
    return info_nce(query, positive, negative, temperature=temperature, similarity=similarity)


def softmax_over_bank(
    query: tf.Tensor, index: tf.Tensor, bank: Table, *, temperature: float
) -> Queries:
    """The non-parametric softmax: each query must find the row of its own image in a bank.

        L(v) = -log( exp(v·f_i/τ) / Σ_j exp(v·f_j/τ) )

    Wu et al. 2018 (InstDisc), equation 2. It takes O(N) time; the rows get no gradient.

    Args:
        query: `[n, d]`; need not be normalized.
        index: int `[n]`, the image of each query.
        bank: a `MemoryBank` of N images.
        temperature: τ, above 0.

    Returns:
        `Queries` `[n]`.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    temperature, query = check_temperature(temperature), normalize(query)
    if not by_tiles(rows_of(query), bank.size, temperature):
        return softmax_over_candidates(index, _to_all_rows(query, bank), temperature)
    query, index = query / temperature, tf.cast(index, tf.int32)
    others = log_sum_exp_over_table(query, bank, index[:, None])
    own = tf.cast(bank.rows(index), query.dtype)
    return from_log_sum_exp(tf.reduce_sum(query * own, axis=1), others)


def _to_all_rows(query, table):
    """Cosines of unit vectors with all rows of a table, `[n, size]`."""
    return tf.matmul(query, tf.cast(table.all_rows(), query.dtype), transpose_b=True)
