"""Sums over the scores of a batch with itself, computing each symmetric pair only once.

The n rows form a circle of P panels of t rows. Panel i meets itself and the next P // 2 panels, so
that any two panels meet once:

    P = 5      0 1 2 3 4                P = 4     0 1 2 3
      panel 0  h x x . .                 panel 0  h x h .        x  counts for rows and columns
            1  . h x x .                       1  . h x h        h  met twice: counts half each time
            2  . . h x x                       2  h . h x
            3  x . . h x                       3  x h . h
            4  x x . . h

All panels have the same width, as XLA requires. `losses.tiles` says why no maximum is subtracted.
"""

import tensorflow as tf

from cl_keras.losses.tiles import LogSumExp, rows_of

PANEL = 2**22
"""Maximum number of scores of a panel: 16 MiB in float32."""

MIN_ROWS, MAX_ROWS = 128, 512


def log_sum_exp_of_others(pairs, temperature, *, panel_rows=None) -> LogSumExp:
    """`log Σ exp(z_i·z_j/τ)` of each row over all rows except itself and its partner.

    Args:
        pairs: `[n, d]`, unit rows, in pairs of partners: 0 and 1, 2 and 3, …
        temperature: τ, at least `tiles.MIN_TEMPERATURE`.
        panel_rows: t, an even number; default: as many as give at most `PANEL` scores.
    """
    circle = _Circle(pairs, temperature, panel_rows or _panel_rows(pairs.shape[0]))

    @tf.custom_gradient
    def compute(pairs):
        total, greatest = circle.sums(pairs)

        def gradient(by_log_sum, _):
            return circle.gradient(pairs, tf.math.divide_no_nan(by_log_sum, total))

        return (tf.math.log(total), tf.math.log(greatest)), gradient

    return LogSumExp(*compute(pairs))


def _panel_rows(count):
    """An even number of rows that leaves few missing in the last panel."""
    if count is None:
        return 256
    most = min(MAX_ROWS, max(MIN_ROWS, PANEL // max(1, count // 2)))
    panels = -(-count // most)
    return 2 * -(-count // (2 * panels))


class _Circle:
    """The walk around the circle of panels.

    Sums extend over twice the circle, so that a panel's columns need not wrap around; `_folded`
    then adds the part beyond the first round. Rows missing in the last panel are masked.
    """

    def __init__(self, pairs, temperature, panel_rows):
        self.count, self.rows, self.dtype = rows_of(pairs), panel_rows, pairs.dtype
        panels = -(-self.count // panel_rows)
        self.length = panels * panel_rows
        self.width = (panels // 2 + 1) * panel_rows
        self.scale = tf.constant(1.0 / temperature, self.dtype)
        column = tf.range(self.width)
        opposite = (column >= self.width - panel_rows) & (panels % 2 == 0)
        half = (column < panel_rows) | opposite
        self.weights = tf.where(half, tf.cast(0.5, self.dtype), tf.cast(1.0, self.dtype))

    def sums(self, pairs):
        """Σ exp and the greatest exp of each row, `[n]`."""

        def add(first, total, greatest):
            _, _, each = self._panel(twice, first)
            by_column, by_row = tf.reduce_sum(each, axis=0), tf.linalg.matvec(each, self.weights)
            total = self._at(tf.tensor_scatter_nd_add, total, first, self.weights * by_column)
            total = self._at(tf.tensor_scatter_nd_add, total, first, by_row)
            by_column, by_row = tf.reduce_max(each, axis=0), tf.reduce_max(each, axis=1)
            greatest = self._at(tf.tensor_scatter_nd_max, greatest, first, by_column)
            greatest = self._at(tf.tensor_scatter_nd_max, greatest, first, by_row)
            return first + self.rows, total, greatest

        twice = self._twice(pairs)
        zeros = tf.zeros_like(twice[:, 0])
        _, total, greatest = self._loop(add, [0, zeros, zeros])
        return self._folded(total, tf.add), self._folded(greatest, tf.maximum)

    def gradient(self, pairs, weights):
        """Σ_j exp(z_i·z_j/τ)·(w_i + w_j)·z_j/τ of each row, `[n, d]`."""

        def add(first, by_pairs):
            own, met, each = self._panel(twice, first)
            around = _rows(twice_weights, first, self.width)
            each *= (around[: self.rows, None] + around) * self.weights
            by_columns, by_rows = tf.matmul(each, own, transpose_a=True), tf.matmul(each, met)
            by_pairs = self._at(tf.tensor_scatter_nd_add, by_pairs, first, by_columns)
            by_pairs = self._at(tf.tensor_scatter_nd_add, by_pairs, first, by_rows)
            return first + self.rows, by_pairs

        twice, twice_weights = self._twice(pairs), self._twice(weights)
        _, by_pairs = self._loop(add, [0, tf.zeros_like(twice)])
        return self._folded(by_pairs, tf.add) * self.scale

    def _panel(self, twice, first):
        """The rows `[t, d]` and columns `[width, d]` of a panel, and the exp of their scores."""
        own, met = _rows(twice, first, self.rows), _rows(twice, first, self.width)
        scores = tf.matmul(own * self.scale, met, transpose_b=True)
        minus = self.dtype.as_numpy_dtype("-inf")
        row = tf.range(self.rows)
        left_out = tf.stack([row, row, row, tf.bitwise.bitwise_xor(row, 1)], axis=1)
        left_out = tf.reshape(left_out, [-1, 2])  # itself and its partner, in the first columns
        scores = tf.tensor_scatter_nd_update(scores, left_out, tf.fill([2 * self.rows], minus))
        if not isinstance(self.count, int) or self.length > self.count:
            missing = (first + tf.range(self.width)) % self.length >= self.count
            missing = missing[: self.rows, None] | missing
            scores = tf.where(missing, minus, scores)
        return own, met, tf.exp(scores)

    def _at(self, scatter, sums, first, values):
        """`sums` with values scattered to the rows from `first` on."""
        rows = first + tf.range(tf.shape(values)[0])
        return scatter(sums, rows[:, None], values)

    def _loop(self, body, start):
        return tf.while_loop(
            lambda first, *_: first < self.length, body, start, parallel_iterations=1
        )

    def _twice(self, rows):
        """`[length + width, …]`: all rows, zeros for missing ones, and the first ones again."""
        rows = _padded(rows, self.length)
        return tf.concat([rows, rows[: self.width]], axis=0)

    def _folded(self, sums, add):
        """`[n, …]`: sums, with the part beyond the first round added to the rows it belongs to."""
        beyond = _padded(sums[self.length :], self.length)
        return add(sums[: self.length], beyond)[: self.count]


def _rows(tensor, first, count):
    """`tensor[first : first + count]`, whose size XLA can see."""
    return tf.slice(tensor, [first] + [0] * (tensor.shape.rank - 1), [count, *tensor.shape[1:]])


def _padded(rows, length):
    missing = length - rows_of(rows)
    return tf.pad(rows, [[0, missing]] + [[0, 0]] * (rows.shape.rank - 1))
