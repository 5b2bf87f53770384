"""Sums over scores that do not fit into memory, one tile of candidates at a time.

A softmax over m candidates only needs `log Σ_j exp(q·k_j)` of its scores; its gradient needs the
scores again, and can recompute them from queries and keys (as in Milakov & Gimelshein 2018, "Online
normalizer calculation for softmax", and Dao et al. 2022, "FlashAttention"). So no more than one
tile of scores is ever in memory.

Cosines are bounded: |q·k| ≤ 1/τ. For τ ≥ 1/64 neither exp(1/τ) nor exp(-1/τ) leaves the range of
float32, even when summed, so no maximum needs to be subtracted.
"""

from typing import NamedTuple, Protocol

import tensorflow as tf

MIN_TEMPERATURE = 1 / 64
"""Below this, exp(±1/τ) may leave the range of float32."""

TILE = 2**20
"""Number of scores of a tile: 4 MiB in float32, which stay in the cache of a CPU."""

TILE_ON_GPU = 2**26

MIN_TILE = 128
"""Minimum number of candidates of a tile, however many queries there are."""

PLAIN = 2**22
"""Maximum number of scores to hold in memory, which is faster if they are few."""

PLAIN_ON_GPU = 2**28


class LogSumExp(NamedTuple):
    """A summary of the scores of each query.

    Attributes:
        log_sum: `[n]`, the logarithm of the sum of their exponentials.
        greatest: `[n]`, the highest score, without gradient.
    """

    log_sum: tf.Tensor
    greatest: tf.Tensor


class Table(Protocol):
    """Candidates without gradient, such as a `KeyQueue` or a `MemoryBank`."""

    size: int

    def rows(self, index):
        """The unit rows `[t, d]` at the indices int `[t]`."""

    def all_rows(self):
        """All rows, `[size, d]`."""


def by_tiles(num_queries, num_candidates, temperature) -> bool:
    """Whether there are too many scores to hold in memory, or their number is not known."""
    if temperature < MIN_TEMPERATURE:
        return False
    if not (isinstance(num_queries, int) and isinstance(num_candidates, int)):
        return True
    return num_queries * num_candidates > (PLAIN_ON_GPU if _on_gpu() else PLAIN)


def log_sum_exp_over_table(queries, table: Table, excluded, *, tile=None) -> LogSumExp:
    """`log Σ_j exp(q_i·k_j)` over the rows of a table, with gradients for the queries.

    Takes one pass, in which it also sums the gradient by q_i, the softmax-weighted mean of keys.

    Args:
        queries: `[n, d]`, unit vectors divided by τ.
        table: the candidates.
        excluded: int32 `[n, c]`, the rows that each query leaves out; None for none.
        tile: number of candidates at a time; default: as many as give about `TILE` scores.
    """
    tile = tile or _tile_rows(queries, table.size)
    keys = tf.convert_to_tensor(table.all_rows())

    @tf.custom_gradient
    def compute(queries):
        total, greatest, mean = _sums(queries, keys, excluded, tile)

        def gradient(by_log_sum, _):
            return by_log_sum[:, None] * mean

        return (tf.math.log(total), tf.math.log(greatest)), gradient

    return LogSumExp(*compute(queries))


def log_sum_exp_over_keys(queries, keys, excluded, *, tile=None) -> LogSumExp:
    """As `log_sum_exp_over_table`, with gradients for the queries and the keys `[m, d]`."""
    tile = tile or _tile_rows(queries, rows_of(keys))

    @tf.custom_gradient
    def compute(queries, keys):
        total, greatest, mean = _sums(queries, keys, excluded, tile)

        def gradient(by_log_sum, _):
            weights = tf.math.divide_no_nan(by_log_sum, total)
            by_keys = _gradient_by_keys(queries, keys, excluded, weights, tile)
            return by_log_sum[:, None] * mean, by_keys

        return (tf.math.log(total), tf.math.log(greatest)), gradient

    return LogSumExp(*compute(queries, keys))


def rows_of(tensor):
    """Number of rows: an int if the shape is static, else a tensor."""
    return tensor.shape[0] if tensor.shape[0] is not None else tf.shape(tensor)[0]


def _sums(queries, keys, excluded, tile):
    """For each query: Σ exp, the greatest exp, and the mean of the keys weighted by exp."""

    def add(first, total, greatest, weighted):
        some, each, is_new = _tile(queries, keys, excluded, first, tile)
        total += tf.linalg.matvec(each, is_new)
        greatest = tf.maximum(greatest, tf.reduce_max(each, axis=1))
        weighted += tf.matmul(each, some * is_new[:, None])
        return first + tile, total, greatest, weighted

    zeros = tf.zeros_like(queries[:, 0])
    start = [0, zeros, zeros, tf.zeros_like(queries)]
    _, total, greatest, weighted = _loop(add, start, rows_of(keys))
    return total, greatest, tf.math.divide_no_nan(weighted, total[:, None])


def _gradient_by_keys(queries, keys, excluded, weights, tile):
    """Σ_i w_i·exp(q_i·k_j)·q_i for each key j, `[m, d]`."""

    def add(first, by_keys):
        _, each, is_new = _tile(queries, keys, excluded, first, tile)
        by_tile = tf.matmul(each, weighted, transpose_a=True) * is_new[:, None]
        rows = _begin(keys, first, tile) + tf.range(tile)[:, None]
        return first + tile, tf.tensor_scatter_nd_add(by_keys, rows, by_tile)

    weighted = queries * weights[:, None]
    return _loop(add, [0, tf.zeros_like(keys)], rows_of(keys))[1]


def _tile(queries, keys, excluded, first, tile):
    """Keys `[t, d]` of a tile, exp of the scores `[n, t]`, and which keys are new, 1 or 0 `[t]`."""
    begin = _begin(keys, first, tile)
    some = tf.cast(tf.slice(keys, [begin, 0], [tile, keys.shape[1]]), queries.dtype)
    scores = tf.matmul(queries, some, transpose_b=True)
    if excluded is not None:
        scores = _without(scores, excluded - begin)
    return some, tf.exp(scores), tf.cast(begin + tf.range(tile) >= first, queries.dtype)


def _begin(keys, first, tile):
    """Where a tile begins whose first new key is `first`.

    All tiles have the same size, as XLA requires, so the last one may overlap the one before.
    """
    return tf.minimum(first, rows_of(keys) - tile)


def _without(scores, columns):
    """Scores `[n, t]`, with -inf at those of the columns `[n, c]` of each row that exist."""
    count, tile = tf.shape(scores)[0], tf.shape(scores)[1]
    inside = (columns >= 0) & (columns < tile)
    rows = tf.broadcast_to(tf.range(count)[:, None], tf.shape(columns))
    cells = tf.stack([rows, tf.where(inside, columns, 0)], axis=-1)
    minus = tf.where(inside, scores.dtype.as_numpy_dtype("-inf"), 0.0)
    # Added, not set, so that a missing column leaves its substitute, column 0, unchanged.
    return tf.tensor_scatter_nd_add(scores, cells, minus)


def _tile_rows(queries, size):
    """Number of keys of a tile."""
    scores = TILE_ON_GPU if _on_gpu() else TILE
    most = max(MIN_TILE, scores // (queries.shape[0] or 1024))
    return min(most, size) if isinstance(size, int) else tf.minimum(most, size)


def _loop(body, start, size):
    """Runs `body(first, *sums)` over the tiles, one at a time, since each fills the cache."""
    return tf.while_loop(lambda first, *_: first < size, body, start, parallel_iterations=1)


def _on_gpu():
    return bool(tf.config.list_logical_devices("GPU"))
