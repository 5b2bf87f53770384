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

    Attributes: `source`, `batch_size`, `seed`, `shuffled`, `drop_remainder`, `share`, `service`,
    `steps_per_epoch`.

    NOTE: the attribute is called `shuffled`, because `shuffle` is a method of `tf.data.Dataset`.

    Args:
        source: `Source`.
        batch_size: int ≥ 1, images in a batch, over all replicas.
        seed: int. Default: 0.
        shuffle: bool. Default: True.
        drop_remainder: bool. Default: None, the same as `shuffle`.
        share: (worker, workers), whose rows of each batch to read; see `of_worker`.
        service: address of a tf.data service; see `from_service`. Default: None.

    Raises:
        TypeError, ValueError: no usable batch size or seed, fewer images than one batch where
            the remainder is dropped, or workers that the batch does not divide by.
    """

    def __init__(
        self,
        source,
        batch_size,
        *,
        seed=0,
        shuffle=True,
        drop_remainder=None,
        share=(0, 1),
        service=None,
    ):
        self.source = source
        self.batch_size = as_int(batch_size, "batch_size", at_least=1)
        self.seed = as_int(seed, "seed")
        self.shuffled = bool(shuffle)
        self.drop_remainder = self.shuffled if drop_remainder is None else bool(drop_remainder)
        self.share, self.service = share, service
        self.steps_per_epoch = self._count_steps()
        self._check_share()
        self._first_epoch = self._pipeline(0, 1, self.steps_per_epoch)
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
        return self._pipeline(epoch, tf.int64.max, tf.data.INFINITE_CARDINALITY, skip)

    def of_worker(self, worker, workers):
        """The rows of every batch that are one worker's: those images alone are read.

        Put one after the other, the rows of all workers are the batch of one worker alone.

        Args:
            worker: int, place of the worker.
            workers: int, their number, by which the batch size must divide.

        Returns:
            `Batches` of `batch_size // workers` rows.

        Raises:
            ValueError: no such worker, the batch size does not divide, or a last batch is smaller.
        """
        return self._but(share=(worker, workers))

    def from_service(self, address):
        """The same batches, made by the processes of a tf.data service.

        Theirs is the work of reading and decoding. Batches come in their order, so that a run can
        be taken up exactly, where the service has one worker; of several, each makes whole epochs,
        and their batches are mixed.

        NOTE: only what is decoded by TensorFlow alone, `tfds:…`, can be made elsewhere. Image
        folders and arrays are read by Python, in this process.

        Args:
            address: of the dispatcher, "grpc://host:port".

        Raises:
            ValueError: another form of address, or images that only this process can read.
        """
        if not str(address).startswith("grpc://"):
            raise ValueError(
                "The address of a tf.data service is that of its dispatcher, "
                f"'grpc://host:port'; received {address!r}."
            )
        if not self.source.readable_elsewhere:
            raise ValueError(
                f"{self.source.name} is read by Python in this process, and a tf.data service "
                "cannot. Leave the service out, or make a TFDS data set of the images: "
                "'tfds:NAME/SPLIT' can be read there."
            )
        return self._but(service=address)

    def _but(self, **changes):
        same = {
            "seed": self.seed,
            "shuffle": self.shuffled,
            "drop_remainder": self.drop_remainder,
            "share": self.share,
            "service": self.service,
        }
        return Batches(self.source, self.batch_size, **(same | changes))

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

    def _check_share(self):
        worker, workers = self.share
        if not 0 <= worker < workers or self.batch_size % workers:
            raise ValueError(
                f"A batch must divide by its {workers} workers, which are numbered from 0; "
                f"received batch_size={self.batch_size} and worker {worker}. Give a batch_size "
                f"that is a multiple of {workers}."
            )
        if workers > 1 and not self.drop_remainder and self.source.num_images % self.batch_size:
            raise ValueError(
                f"The last batch of {self.source.name} has fewer images than the others, so that "
                f"{workers} workers cannot share it; give drop_remainder=True."
            )

    def _pipeline(self, first, end, cardinality, skip=0):
        """The epochs from `first` to before `end`, without the first `skip` batches."""

        @tf.autograph.experimental.do_not_convert
        def one(epoch):
            return self.source.epoch(
                epoch,
                self.batch_size,
                seed=self.seed,
                shuffle=self.shuffled,
                drop_remainder=self.drop_remainder,
                skip=tf.where(epoch == first, tf.constant(skip, tf.int64), 0),
                share=self.share,
            )

        batches = tf.data.Dataset.range(first, end).flat_map(one)
        if self.service:
            service = tf.data.experimental.service
            # Each worker of the service takes epochs that no other has.
            policy = service.ShardingPolicy.DYNAMIC
            batches = batches.with_options(_options()).apply(
                service.distribute(policy, self.service)
            )
        return (
            batches.apply(tf.data.experimental.assert_cardinality(cardinality))
            .prefetch(PREFETCHED)
            .with_options(_options())
        )


def _options():
    options = tf.data.Options()
    options.deterministic = True
    # All parallelism is explicit: with the autotuner, giving up an iterator waits for its tick.
    options.autotune.enabled = False
    # There are no files to split. Several workers divide the rows themselves: see `of_worker`.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
