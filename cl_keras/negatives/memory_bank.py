"""A memory bank: the most recent embedding of every image."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras import distribute, loops
from cl_keras.bounds import check_memory
from cl_keras.similarity import normalize, random_unit_rows

_BANK = 0x62616E6B  # folded into the key of draws, to separate them from views of the same seed


@keras.saving.register_keras_serializable("cl_keras")
class MemoryBank(keras.layers.Layer):
    """One unit vector for each image of a data set (Wu et al. 2018, InstDisc).

    `bank` is `[size, dim]`, float32 (float64 if Keras computes in it), random at the start. Row i
    belongs to the image with index i, its row in the data set.

    A step reads and writes only the rows it needs, in place, so its cost does not grow with `size`.
    Every replica holds the same bank, since the rows of all replicas are gathered before writing.

    Args:
        size: N, the number of images.
        dim: d, the width of an embedding.
        seed: of the initial random rows; default: 0.
        empty: whether to begin with zeros instead, so that `stored` tells which rows were written;
            default: False.

    Raises:
        ValueError: for a size or a width below 1, or a bank that does not fit into memory.
    """

    def __init__(self, size: int, dim: int, *, seed: int = 0, empty: bool = False, **kwargs):
        super().__init__(**kwargs)
        if size < 1 or dim < 1:
            raise ValueError(
                "size and dim of a memory bank must be at least 1; received "
                f"size={size!r}, dim={dim!r}."
            )
        check_memory([size, dim], "A memory bank", "Give a smaller num_images or output_dim.")
        self.size, self.dim, self.seed = int(size), int(dim), int(seed)
        self.empty = bool(empty)
        self.bank = self.add_weight(
            name="bank",
            shape=[self.size, self.dim],
            dtype="float64" if self.variable_dtype == "float64" else "float32",
            initializer="zeros" if empty else random_unit_rows(self.seed),
            trainable=False,
            aggregation="only_first_replica",
            autocast=False,
        )
        self.built = True

    # Reading.

    def rows(self, index: tf.Tensor) -> tf.Tensor:
        """The rows of some images, `[..., dim]`.

        Args:
            index: int `[...]` in 0..size-1. Others are an error on a CPU, but give zeros on a GPU,
                so call `checked` first on an index from outside.
        """
        return distribute.read_rows(self.bank, index)

    def all_rows(self) -> tf.Tensor:
        """All rows, `[size, dim]`."""
        return self.bank.value

    def stored(self) -> np.ndarray:
        """Indices of the images whose rows are not zero, int64; runs eagerly."""
        return np.flatnonzero(self.bank.numpy().any(axis=1))

    def checked(self, index: tf.Tensor) -> tf.Tensor:
        """The index as int64, after checking that it lies within the bank.

        Args:
            index: int `[b]`, or None.

        Returns:
            int64 `[b]`.

        Raises:
            ValueError: for None.
            tf.errors.InvalidArgumentError: for an index out of range; not checked under XLA.
        """
        if index is None:
            raise ValueError(
                "A memory bank needs the index of each image in the data set; received no "
                '"index". Train on an array, on data.load(...), or on elements {"image", "index"}.'
            )
        index = tf.cast(index, tf.int64)
        least, most = tf.reduce_min(index), tf.reduce_max(index)
        message = (
            f"Each index must lie in 0..{self.size - 1}, a row of the memory bank of {self.size} "
            "images; received (least, most):"
        )
        inside = (least >= 0) & (most < self.size)
        check = tf.debugging.Assert(inside, [message, least, most])
        with tf.control_dependencies([] if check is None else [check]):
            return tf.identity(index)

    def draw(
        self,
        count: int,
        seed: int,
        step: int | tf.Tensor,
        rows: int | tf.Tensor,
        first_row: int | tf.Tensor = 0,
    ) -> tf.Tensor:
        """Draws images with replacement, all with the same probability.

        A pure function of (seed, step, row of the global batch): the same on one replica and many.

        Args:
            count: K, the number of images per row.
            seed: int or int tensor.
            step: int or int tensor; another step gives other images.
            rows: b, the number of rows on this replica.
            first_row: row of the global batch at which they begin; default: 0.

        Returns:
            int32 `[b, K]` in 0..size-1.
        """
        key = tf.stack([tf.cast(seed, tf.int64), tf.cast(step, tf.int64)])
        key = tf.random.experimental.stateless_fold_in(key, _BANK, alg="philox")
        block = tf.random.stateless_uniform(
            [first_row + rows, count], key, 0, self.size, dtype=tf.int32, alg="philox"
        )
        return block[first_row:]

    # Scores.

    def against_drawn(
        self,
        queries: list[tf.Tensor],
        index: tf.Tensor,
        count: int,
        outcome: Callable[[tf.Tensor], list[tf.Tensor]],
        *,
        seed: int,
        step: int | tf.Tensor,
        own_drawn: bool = True,
    ) -> list[tf.Tensor]:
        """Compares each query with its own image, and with images drawn for it.

        Several queries of one image share the drawn images. Loops on a CPU read the rows where they
        are, and take the gradient at once; a GPU and XLA hold all rows until the gradient is
        computed: `b·(1 + K)·dim` numbers, 0.54 GB for 256 images, 4,096 drawn, and a width of 128.

        Args:
            queries: list of `[b, dim]`, of the same b images; need not be normalized.
            index: int64 `[b]`, checked.
            count: K, the number of images drawn for each.
            outcome: a function of `[m, 1 + K]` cosines, one row for each query, with its own image
                in column 0. It returns a list of `[m]`, of the same dtype, where each number
                depends on its own row alone; only the first of the list has a gradient.
            seed: of the draw.
            step: of the draw.
            own_drawn: whether the query's own image may be among the drawn ones, as noise requires;
                otherwise it scores `-inf` there; default: True.

        Returns:
            The outcome of all queries, a list of `[n]`, where n is b times the number of queries:
            those of `queries[0]` first.
        """
        local = tf.shape(index)[0]
        drawn = self.draw(count, seed, step, local, distribute.batch_row(local))
        slots = tf.concat([tf.cast(index, tf.int32)[:, None], drawn], axis=1)
        units = tf.stack([self._unit(query) for query in queries])  # [q, b, dim]
        is_own = tf.concat([tf.zeros_like(slots[:, :1], bool), drawn == slots[:, :1]], axis=1)

        def outcome_of(scores):
            """Of scores `[q, b, 1 + K]`."""
            if not own_drawn:
                scores = tf.where(is_own, scores.dtype.as_numpy_dtype("-inf"), scores)
            return outcome(tf.reshape(scores, [-1, 1 + count]))

        if loops.fit_here():
            return _in_loops(outcome_of, tf.convert_to_tensor(self.bank.value), units, slots)
        return outcome_of(tf.einsum("qbd,bkd->qbk", units, self.rows(slots)))

    def _unit(self, vectors):
        return tf.cast(normalize(vectors), self.bank.dtype)

    # Writing.

    def update(self, index: tf.Tensor, vectors: tf.Tensor, momentum: float) -> None:
        """Moves the rows of a batch towards its embeddings.

            bank[i] ← normalize(m·bank[i] + (1 - m)·f)

        If an image occurs more than once in the global batch, its last embedding counts.

        NOTE: all rows are copied if others are being read at the same time. `after_step` of a
        method is called after that; elsewhere, use `tf.control_dependencies([gradient])`.

        Args:
            index: int64 `[b]` of this replica, checked.
            vectors: `[b, dim]`, f; need not be normalized.
            momentum: m, in [0, 1].
        """
        index = distribute.gather(index)
        vectors = distribute.gather(tf.stop_gradient(self._unit(vectors)))
        # Every occurrence writes the same row, so the order of writing does not matter.
        vectors = tf.gather(vectors, _last_occurrence(index))
        moved = self._unit(momentum * self.rows(index) + (1.0 - momentum) * vectors)
        distribute.write_rows(self.bank, index, moved)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "dim": self.dim,
            "seed": self.seed,
            "empty": self.empty,
        }


def _in_loops(outcome, bank, units, slots):
    """The outcome of the scores `[q, b, m]` of units `[q, b, dim]` with rows at slots `[b, m]`.

    The gradient of the first result is taken at once: afterwards `bank` could have been changed, or
    would have to be copied first.
    """
    from cl_keras.negatives import bank_kernels  # slow to import

    def call(function, *inputs):
        return tf.numpy_function(function, inputs, units.dtype, stateful=False)

    @tf.custom_gradient
    def outcome_of(units):
        scores = call(bank_kernels.scores, bank, units, slots)
        scores = tf.ensure_shape(scores, [units.shape[0], *slots.shape])
        with tf.GradientTape() as tape:
            tape.watch(scores)
            found = outcome(scores)
        by_scores = tape.gradient(found[0], scores, unconnected_gradients="zero")
        by_units = call(bank_kernels.gradients, bank, by_scores, slots)

        def gradient(by_first, *_):
            return tf.reshape(by_first, tf.shape(units)[:2])[..., None] * by_units

        return found, gradient

    return outcome_of(units)


def _last_occurrence(index):
    """Position of the last row with the same index: `[2, 1, 2]` for `[3, 5, 3]`."""
    same = index[:, None] == index
    return tf.reduce_max(tf.where(same, tf.range(tf.shape(index)[0]), 0), axis=1)


def check_momentum(momentum: float) -> float:
    """The momentum of a bank as a float.

    Raises:
        ValueError: if it does not lie in [0, 1).
    """
    if isinstance(momentum, (int, float)) and 0 <= momentum < 1:
        return float(momentum)
    raise ValueError(
        f"bank_momentum must lie in [0, 1), with 0 for just the newest embedding; received "
        f"{momentum!r}."
    )
