"""Batches of a source, in an order that can be resumed at any point."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from cl_keras.data.cuts import Cropper
from cl_keras.data.order import as_int
from cl_keras.data.transforms import Transform, record_transforms

PREFETCHED = 2  # batches prepared ahead
PASS = 2**32  # epoch numbers reserved for each pass over an endless dataset


@record_transforms
class Batches(tf.data.Dataset):
    """A `tf.data.Dataset` of one epoch of a source, which also gives all later epochs.

    Elements are `{"image": uint8 [b, h, w, c], "index": int64 [b][, "label": int64 [b]]}`.
    The order of epoch e is a pure function of (seed, e). The dataset itself is epoch 0, the same
    each time it is iterated; `from_epoch` gives the epochs from a given one on, which is how
    training reads them and resumes.

    The methods of `tf.data.Dataset` (`map`, `prefetch`, `take`, `with_options`, …) return `Batches`
    again, which apply them to every epoch. `repeat` appends the next epochs, each in its own order.
    `cache` and `snapshot` would freeze the order, and are refused.

    Attributes: `source`, `batch_size`, `seed`, `shuffled`, `drop_remainder`, `share`, `service`,
    `transforms`, and `steps_per_epoch`, which is None if a method such as `filter` makes the number
    of batches unknown.

    NOTE: the attribute is called `shuffled`, because `shuffle` is a method of `tf.data.Dataset`.

    Args:
        source: `Source`.
        batch_size: images per batch, over all replicas; at least 1.
        seed: of the order; default: 0.
        shuffle: whether each epoch has its own order; default: True.
        drop_remainder: leave out a smaller last batch; default: None, the same as `shuffle`.
        share: (worker, workers), the worker whose rows to read, see `of_worker`; default: (0, 1).
        service: address of a tf.data service, see `from_service`; default: None.
        transforms: methods of `tf.data.Dataset` to apply to each epoch; default: none.
        cropper: draws crops that are cut from the files, see `cut`; default: None.

    Raises:
        TypeError, ValueError: an unusable batch size or seed; fewer images than one batch, if the
            remainder is dropped; or a number of workers that does not divide the batch size.
    """

    def __init__(
        self,
        source: Any,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_remainder: bool | None = None,
        share: tuple[int, int] = (0, 1),
        service: str | None = None,
        transforms: tuple[Transform, ...] = (),
        cropper: Cropper | None = None,
    ):
        self.source = source
        self.batch_size = as_int(batch_size, "batch_size", at_least=1)
        self.seed = as_int(seed, "seed")
        self.shuffled = bool(shuffle)
        self.drop_remainder = self.shuffled if drop_remainder is None else bool(drop_remainder)
        self.share, self.service, self.transforms = share, service, tuple(transforms)
        self.cropper = cropper
        self._check_share()
        self._first_epoch, self.steps_per_epoch = self._first()
        super().__init__(self._first_epoch._variant_tensor)

    def from_epoch(self, epoch: int, skip: int = 0) -> tf.data.Dataset:
        """All epochs from a given one on, one after the other, without end.

        Args:
            epoch: number of the epoch, from 0.
            skip: number of batches of that epoch to skip, at most `steps_per_epoch`; default: 0.
                Their images are not read, unless a method such as `filter` or `unbatch` makes it
                necessary.

        Returns:
            An infinite `tf.data.Dataset`: the rest of the epoch, and then one epoch per
            `steps_per_epoch` elements.

        Raises:
            TypeError, ValueError: `epoch` or `skip` is not an int in that range.
        """
        epoch = as_int(epoch, "epoch", at_least=0)
        skip = as_int(skip, "skip", at_least=0)
        if self.steps_per_epoch is not None and skip > self.steps_per_epoch:
            raise ValueError(
                f"skip must be at most {self.steps_per_epoch}, the number of batches per epoch; "
                f"received {skip}."
            )
        last = self._last_endless()
        if last is None or not self._endless():
            stride = 1 if last is None else PASS
            stream = self._epochs(epoch, tf.int64.max, skip, self.transforms, stride)
        elif all(transform.one_for_one for transform in self.transforms[last + 1 :]):
            stream = self._epoch(tf.constant(epoch, tf.int64), skip, self.transforms)
        elif epoch and self.steps_per_epoch is None:
            raise ValueError(
                f"epoch must be 0 for these batches of {self.source.name}, because the number of "
                f"batches per epoch is not known; received {epoch}."
            )
        else:
            start = self._epoch(tf.constant(0, tf.int64), 0, self.transforms)
            stream = start.skip(epoch * (self.steps_per_epoch or 0) + skip)
        return self._finished(stream, tf.data.INFINITE_CARDINALITY, self._first_epoch.options())

    def in_order(self) -> Batches:
        """All images in the order of their indices, including those of a smaller last batch.

        Transforms are kept, except those that select by position (`take`, `shuffle`, …), and the
        images are whole even if these are cut.
        """
        kept = tuple(t for t in self.transforms if not t.selects_by_position)
        return self._replace(shuffle=False, drop_remainder=False, transforms=kept, cropper=None)

    @property
    def can_cut(self) -> bool:
        """Whether crops can be cut from the files: the source supports it, and no transform reads
        the images."""
        untouched = all(transform.leaves_elements for transform in self.transforms)
        return self.source.cuts and untouched and self.service is None

    def cut(self, cropper: Cropper) -> Batches:
        """The same batches, with crops that are cut from the image files at full resolution.

        Every file is decoded once, and all crops of an image are cut from it. They depend only on
        the cropper, the epoch and the index of the image.

        Args:
            cropper: draws the boxes, from (height, width, epoch, index).

        Returns:
            `Batches` of `{"crops", "index"[, "label"]}`, where "crops" is a tuple of uint8
            `[b, size, size, c]`, one for each of `cropper.sizes`.

        Raises:
            ValueError: crops cannot be cut; see `can_cut`.
        """
        if not self.can_cut:
            raise ValueError(
                f"crops are cut from image files, but {self.source.name} has none that are larger "
                "than its images, or its batches are already mapped."
            )
        return self._replace(cropper=cropper)

    def of_worker(self, worker: int, workers: int) -> Batches:
        """One worker's rows of every batch; only these images are read.

        Concatenated, the rows of all workers are the batch of a single worker.

        Args:
            worker: number of the worker, from 0.
            workers: number of workers; the batch size must be a multiple of it.

        Returns:
            `Batches` of `batch_size // workers` rows.

        Raises:
            ValueError: there is no such worker, the batch size is not a multiple of `workers`, the
                last batch is smaller, or a method such as `unbatch` has rebatched the images.
        """
        return self._replace(share=(worker, workers))

    @property
    def keeps_batches(self) -> bool:
        """Whether every element comes from one batch of the source, so that workers can share."""
        return all(transform.keeps_batches for transform in self.transforms)

    def from_service(self, address: str) -> Batches:
        """The same batches, read and decoded by the processes of a tf.data service.

        If the service has one worker, batches keep their order, so a run can be resumed exactly; of
        several workers, each makes whole epochs, and their batches are mixed.

        NOTE: only images that TensorFlow itself decodes, `tfds:…`, can be read elsewhere. Image
        folders and arrays are read by Python, in this process.

        Args:
            address: address of the dispatcher, "grpc://host:port".

        Raises:
            ValueError: another form of address, or images that only this process can read.
        """
        if not str(address).startswith("grpc://"):
            raise ValueError(
                "The address of a tf.data service must be that of its dispatcher, "
                f"'grpc://host:port'; received {address!r}."
            )
        if not self.source.can_run_in_service:
            raise ValueError(
                f"{self.source.name} is read by Python in this process, not by a tf.data service. "
                "Leave the service out, or turn the images into a TFDS data set, which the "
                "service can read as 'tfds:NAME/SPLIT'."
            )
        return self._replace(service=address)

    def _replace(self, **changes: Any) -> Batches:
        same: dict[str, Any] = {
            "seed": self.seed,
            "shuffle": self.shuffled,
            "drop_remainder": self.drop_remainder,
            "share": self.share,
            "service": self.service,
            "transforms": self.transforms,
            "cropper": self.cropper,
        }
        return Batches(self.source, self.batch_size, **(same | changes))

    @property
    def element_spec(self):
        """The structure of `tf.TensorSpec` of an element."""
        return self._first_epoch.element_spec

    def _inputs(self):
        return [self._first_epoch]

    def _count_steps(self) -> int:
        images, size = self.source.num_images, self.batch_size
        if not self.drop_remainder:
            return -(-images // size)
        if images < size:
            raise ValueError(
                f"{self.source.name} has {images} images, fewer than one batch of {size}. "
                f"Give a batch_size of at most {images}, or drop_remainder=False."
            )
        return images // size

    def _check_share(self) -> None:
        worker, workers = self.share
        if not 0 <= worker < workers or self.batch_size % workers:
            raise ValueError(
                f"batch_size must be a multiple of the {workers} workers, which are numbered from "
                f"0; received batch_size={self.batch_size} and worker {worker}."
            )
        if workers > 1 and not self.drop_remainder and self.source.num_images % self.batch_size:
            raise ValueError(
                f"The last batch of {self.source.name} is smaller than the others, so {workers} "
                "workers cannot share it; give drop_remainder=True."
            )
        if workers > 1 and not self.keeps_batches:
            names = ", ".join(t.name for t in self.transforms if not t.keeps_batches)
            raise ValueError(
                f"{workers} workers cannot share batches that {names} has rebatched. Leave it out, "
                "or train with one worker."
            )

    def _first(self) -> tuple[tf.data.Dataset, int | None]:
        """Epoch 0, and the number of steps of an epoch."""
        steps: int | None = self._count_steps()
        first = self._finished(self._epochs(0, 1, 0, ()), steps)
        for i, transform in enumerate(self.transforms):
            if transform.name != "repeat":
                first = transform(first, 0)
                continue
            options, length = first.options(), _length(first)
            count = transform.count
            if count is None:
                steps, length = length, tf.data.INFINITE_CARDINALITY
            elif length is not None:
                length = length * count if length >= 0 else length
            first = self._epoch(tf.constant(0, tf.int64), 0, self.transforms[: i + 1])
            first = self._finished(first, length, options)
        length = _length(first)
        return first, steps if length == tf.data.INFINITE_CARDINALITY else length

    def _last_endless(self) -> int | None:
        """Index of the last transform that repeats without end."""
        found = [i for i, t in enumerate(self.transforms) if t.name == "repeat" and not t.count]
        return found[-1] if found else None

    def _endless(self) -> bool:
        return _length(self._first_epoch) == tf.data.INFINITE_CARDINALITY

    def _epochs(self, first, end, skip, transforms, stride=1) -> tf.data.Dataset:
        """The epochs from `first` to before `end`, without the first `skip` batches."""

        @tf.autograph.experimental.do_not_convert
        def one(epoch):
            left_out = tf.where(epoch == first, tf.cast(skip, tf.int64), 0)
            return self._epoch(epoch * stride, left_out, transforms)

        return tf.data.Dataset.range(first, end).flat_map(one)

    def _epoch(self, epoch, skip, transforms) -> tf.data.Dataset:
        """One epoch without its first `skip` batches, after the given transforms."""
        if not transforms:
            return self.source.epoch(
                epoch,
                self.batch_size,
                seed=self.seed,
                shuffle=self.shuffled,
                drop_remainder=self.drop_remainder,
                skip=skip,
                share=self.share,
                cropper=self.cropper,
            )
        *before, last = transforms
        if last.name == "repeat" and last.count is None:
            return self._epochs(epoch, tf.int64.max, skip, before)
        if last.name == "repeat":
            count = last.count
            return self._epochs(epoch * count, (epoch + 1) * count, 0, before).skip(skip)
        if last.one_for_one:
            return last(self._epoch(epoch, skip, before), epoch)
        return last(self._epoch(epoch, 0, before), epoch).skip(skip)

    def _finished(self, batches, length, options=None) -> tf.data.Dataset:
        if self.service:
            service = tf.data.experimental.service
            # No two workers of the service read the same epoch.
            policy = service.ShardingPolicy.DYNAMIC
            batches = batches.with_options(_options()).apply(
                service.distribute(policy, self.service)
            )
        if length is not None:
            batches = batches.apply(tf.data.experimental.assert_cardinality(length))
        return batches.prefetch(PREFETCHED).with_options(options or _options())


def repeats_one_order(dataset: tf.data.Dataset) -> bool:
    """Whether a dataset was made of shuffled `Batches` in a way that loses their later epochs.

    `tf.data.Dataset.zip`, for example, sees nothing but the first epoch.
    """
    if isinstance(dataset, Batches):
        return False
    inputs: list[Any] = list(dataset._inputs())
    return any(isinstance(d, Batches) and d.shuffled or repeats_one_order(d) for d in inputs)


def _length(dataset) -> int | None:
    """The number of elements, TensorFlow's infinity, or None if it is unknown."""
    length = int(tf.data.Dataset.cardinality(dataset))
    return None if length == tf.data.UNKNOWN_CARDINALITY else length


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # All parallelism is explicit: with the autotuner, closing an iterator waits for its next tick.
    options.autotune.enabled = False
    # There are no files to split. Workers divide the rows themselves; see `of_worker`.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
