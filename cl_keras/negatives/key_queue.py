"""A queue of keys: negatives from the batches before this one."""

from typing import Any

import keras
import tensorflow as tf

from cl_keras import distribute
from cl_keras.similarity import normalize, random_unit_rows


@keras.saving.register_keras_serializable("cl_keras")
class KeyQueue(keras.layers.Layer):
    """The newest keys of the global batches, first in, first out (He et al. 2020, MoCo).

    Keys stand in a ring, `keys` `[size, dim]` of unit rows, random at the start; `pointer` is
    where the next key goes, which is where the oldest stands. A batch may be of any size, also
    one that does not divide the size of the ring.

    Every replica holds the same keys: those of all replicas are gathered before they are written.

    Args:
        size: number of keys.
        dim: width of a key.
        seed: of the random keys at the start.
    """

    def __init__(self, size: int, dim: int, *, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if size < 1:
            raise ValueError(f"A queue holds at least 1 key; received size={size!r}.")
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
        """The keys at int `[t]`, `[t, dim]`, without a copy of all the others."""
        return distribute.read_rows(self.keys, index)

    def all_rows(self) -> tf.Tensor:
        """All keys, `[size, dim]`."""
        return self.keys.value

    def push(self, keys: tf.Tensor) -> None:
        """Puts keys in the place of the oldest.

        Args:
            keys: `[b, dim]` of this replica; they are normalized.
        """
        keys = distribute.gather(tf.cast(normalize(keys), self.keys.dtype))
        count = tf.shape(keys, tf.int64)[0]
        begin = self.pointer.value + tf.maximum(count - self.size, 0)
        kept = keys[-self.size :]  # of more keys than there is room for, the newest
        places = (begin + tf.range(tf.shape(kept, tf.int64)[0])) % self.size
        distribute.write_rows(self.keys, places, kept)
        self.pointer.assign((self.pointer.value + count) % self.size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "dim": self.dim, "seed": self.seed}
