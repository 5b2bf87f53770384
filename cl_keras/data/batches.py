"""Batches of a source, in an order that can be taken up again anywhere."""

import tensorflow as tf

from cl_keras.data.order import as_int

PREFETCHED = 2  # batches made ahead


class Batches(tf.data.Dataset):
    """A `tf.data.Dataset` of one epoch of a source, and from it every later epoch.

    Elements are `{"image": uint8 [B, H, W, C], "index": int64 [B][, "label": int64 [B]]}`.
    The order of epoch e is a pure function of (seed, e). The dataset itself is epoch 0, the same
    each time it is iterated; `from_epoch` gives the epochs from any one onwards, which is what
    training takes, and how it resumes.

    Attributes: `source`, `batch_size`, `seed`, `shuffled`, `drop_remainder`, `steps_per_epoch`.

    NOTE: the attribute is called `shuffled`, because `shuffle` is a method of `tf.data.Dataset`.

    Args:
        source: `Source`.
        batch_size: int ≥ 1, images in a batch, over all replicas.
        seed: int. Default: 0.
        shuffle: bool. Default: True.
        drop_remainder: bool. Default: None, the same as `shuffle`.

    Raises:
        TypeError, ValueError: no usable batch size or seed, or fewer images than one batch where
            the remainder is dropped.
    """

    def __init__(self, source, batch_size, *, seed=0, shuffle=True, drop_remainder=None):
        self.source = source
        self.batch_size = as_int(batch_size, "batch_size", at_least=1)
        self.seed = as_int(seed, "seed")
        self.shuffled = bool(shuffle)
        self.drop_remainder = self.shuffled if drop_remainder is None else bool(drop_remainder)
        self.steps_per_epoch = self._count_steps()
        self._first_epoch = self._pipeline(tf.data.Dataset.range(1), self.steps_per_epoch)
        super().__init__(self._first_epoch._variant_tensor)

    def from_epoch(self, epoch, skip=0):
        """All epochs from a given one onwards, one after the other, without an end.

        Args:
            epoch: int ≥ 0.
            skip: int from 0 to `steps_per_epoch`, batches of that epoch that are done; their
                images are not read. Default: 0.

        Returns:
            An infinite `tf.data.Dataset`: what is left of the epoch, and then each
            `steps_per_epoch` elements are one epoch.

        Raises:
            TypeError, ValueError: `epoch` or `skip` is no such int.
        """
        epoch = as_int(epoch, "epoch", at_least=0)
        skip = as_int(skip, "skip", at_least=0)
        if skip > self.steps_per_epoch:
            raise ValueError(
                f"skip must be at most {self.steps_per_epoch}, the batches of an epoch; "
                f"received {skip}."
            )
        return self._pipeline(tf.data.Dataset.counter(epoch), tf.data.INFINITE_CARDINALITY, skip)

    @property
    def element_spec(self):
        """The dict of `tf.TensorSpec` of an element."""
        return self._first_epoch.element_spec

    def _inputs(self):
        return [self._first_epoch]

    def _count_steps(self):
        images, size = self.source.num_images, self.batch_size
        if not self.drop_remainder:
            return -(-images // size)
        if images < size:
            raise ValueError(
                f"{self.source.name} has {images} images, fewer than one batch of {size}. "
                f"Give a batch_size of at most {images}, or drop_remainder=False."
            )
        return images // size

    def _pipeline(self, epochs, cardinality, skip=0):
        @tf.autograph.experimental.do_not_convert
        def one(place, epoch):
            return self.source.epoch(
                epoch,
                self.batch_size,
                seed=self.seed,
                shuffle=self.shuffled,
                drop_remainder=self.drop_remainder,
                skip=tf.where(place == 0, tf.constant(skip, tf.int64), 0),
            )

        return (
            epochs.enumerate()
            .flat_map(one)
            .apply(tf.data.experimental.assert_cardinality(cardinality))
            .prefetch(PREFETCHED)
            .with_options(_options())
        )


def _options():
    options = tf.data.Options()
    options.deterministic = True
    # All parallelism is explicit: with the autotuner, giving up an iterator waits for its tick.
    options.autotune.enabled = False
    # Every worker reads all indices and keeps its share: there are no files to split.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
