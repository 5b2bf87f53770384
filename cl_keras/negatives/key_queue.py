"""A queue of keys: negatives from earlier batches."""

from typing import Any

import keras
import tensorflow as tf

from cl_keras import distribute
from cl_keras.bounds import check_memory
from cl_keras.similarity import normalize, random_unit_rows


@keras.saving.register_keras_serializable("cl_keras")
class KeyQueue(keras.layers.Layer):
    """The newest keys of the global batches, first in, first out (He et al. 2020, MoCo).

    Keys are stored in a ring, `keys` `[size, dim]` of unit rows, random at the start; `pointer` is
    the row of the oldest key, where the next one goes. The batch size need not divide the size of
    the ring.

    Every replica holds the same keys, since those of all replicas are gathered before writing.

    Args:
        size: number of keys.
        dim: width of a key.
        seed: of the initial random keys; default: 0.

    Raises:
        ValueError: for a size below 1, or one that does not fit into memory.
    """

    def __init__(self, size: int, dim: int, *, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if size < 1:
            raise ValueError(f"size must be at least 1 key; received {size!r}.")
        check_memory([size, dim], "A queue", "Give a smaller queue_size.")
        self.size, self.dim, self.seed = size, dim, seed
        state = {"trainable": False, "aggregation": "only_first_replica", "autocast": False}
        self.keys = self.add_weight(
            name="keys", shape=[size, dim], initializer=random_unit_rows(self.seed), **state
        )
        self.pointer = self.add_weight(
            name="pointer", shape=[], dtype="int64", initializer="zeros", **state
        )
        self.built = True

    def rows(self, index: tf.Tensor) -> tf.Tensor:
        """The keys `[t, dim]` at the indices int `[t]`, without a copy of all the others."""
        return distribute.read_rows(self.keys, index)

    def all_rows(self) -> tf.Tensor:
        """All keys, `[size, dim]`."""
        return self.keys.value

    def push(self, keys: tf.Tensor) -> None:
        """Replaces the oldest keys.

        NOTE: all keys are copied if they are being read at the same time; see `MemoryBank.update`.

        Args:
            keys: `[b, dim]` of this replica; need not be normalized.
        """
        keys = distribute.gather(tf.cast(normalize(keys), self.keys.dtype))
        count = tf.shape(keys, tf.int64)[0]
        begin = self.pointer.value + tf.maximum(count - self.size, 0)
        kept = keys[-self.size :]  # the newest, if there are more than fit
        rows = (begin + tf.range(tf.shape(kept, tf.int64)[0])) % self.size
        distribute.write_rows(self.keys, rows, kept)
        self.pointer.assign((self.pointer.value + count) % self.size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "dim": self.dim, "seed": self.seed}
