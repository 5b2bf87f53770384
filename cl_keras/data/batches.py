"""Batches of a source, in an order that can be resumed anywhere."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from cl_keras.data.cuts import Cropper
from cl_keras.data.order import as_int
from cl_keras.data.transforms import Transform, record_transforms

PREFETCHED = 2  # batches made ahead
PASS = 2**32  # epochs between two passes over a part of an endless dataset


@record_transforms
class Batches(tf.data.Dataset):
    """A `tf.data.Dataset` of one epoch of a source, and from it every later epoch.

    Elements are `{"image": uint8 [b, h, w, c], "index": int64 [b][, "label": int64 [b]]}`.
    The order of epoch e is a pure function of (seed, e). The dataset itself is epoch 0, the same
    each time it is iterated; `from_epoch` gives the epochs from any one onwards, which is what
    training takes, and how it resumes.

    What the methods of `tf.data.Dataset` make of it (`map`, `prefetch`, `take`, `with_options`, …)
    is a `Batches` again: they are applied to every epoch anew. `repeat` appends the next epochs,
    each in its own order. `cache` and `snapshot` would freeze the order, and are refused.

    Attributes: `source`, `batch_size`, `seed`, `shuffled`, `drop_remainder`, `share`, `service`,
    `transforms`, and `steps_per_epoch`, which is None where a method such as `filter` leaves the
    number of batches unknown.

    NOTE: the attribute is called `shuffled`, because `shuffle` is a method of `tf.data.Dataset`.

    Args:
        source: `Source`.
        batch_size: images in a batch, over all replicas; at least 1.
        seed: of the order; default: 0.
        shuffle: whether each epoch has an order of its own; default: True.
        drop_remainder: leave out a smaller last batch; default: None, the same as `shuffle`.
        share: (worker, workers), whose rows of each batch to read; see `of_worker`.
        service: address of a tf.data service; see `from_service`; default: None.
        transforms: methods of `tf.data.Dataset` to apply to each epoch; default: none.
        cropper: draws crops that are cut from the files; see `cut`; default: None.

    Raises:
        TypeError, ValueError: the batch size or seed cannot be used, there are fewer images than
            one batch where the remainder is dropped, or workers that the batch does not divide by.
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
        """All epochs from a given one onwards, one after the other, without an end.

        Args:
            epoch: number of the epoch, from 0.
            skip: from 0 to `steps_per_epoch`, batches of that epoch that are done; default: 0.
                Their images are not read, unless a method that does not map batch to batch, such
                as `filter` or `unbatch`, makes this necessary.

        Returns:
            An infinite `tf.data.Dataset`: what is left of the epoch, and then each
            `steps_per_epoch` elements are one epoch.

        Raises:
            TypeError, ValueError: `epoch` or `skip` is not such an int.
        """
        epoch = as_int(epoch, "epoch", at_least=0)
        skip = as_int(skip, "skip", at_least=0)
        if self.steps_per_epoch is not None and skip > self.steps_per_epoch:
            raise ValueError(
                f"skip must be at most {self.steps_per_epoch}, the batches of an epoch; "
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
                f"epoch must be 0 for these batches of {self.source.name}, because their number of "
                f"batches per epoch is not known; received {epoch}."
            )
        else:
            start = self._epoch(tf.constant(0, tf.int64), 0, self.transforms)
            stream = start.skip(epoch * (self.steps_per_epoch or 0) + skip)
        return self._finished(stream, tf.data.INFINITE_CARDINALITY, self._first_epoch.options())

    def in_order(self) -> Batches:
        """All images in the order of their indices, those of a smaller last batch too.

        They are mapped as these are; what selects by position (`take`, `shuffle`, …) is left out,
        and they are whole where these are cut.
        """
        kept = tuple(t for t in self.transforms if not t.selects_by_position)
        return self._replace(shuffle=False, drop_remainder=False, transforms=kept, cropper=None)

    @property
    def can_cut(self) -> bool:
        """Whether crops can be cut from the files: the source can, and no method that was applied
        looks at the images."""
        untouched = all(transform.leaves_elements for transform in self.transforms)
        return self.source.cuts and untouched and self.service is None

    def cut(self, cropper: Cropper) -> Batches:
        """The same batches of crops that are cut from the image files as they are.

        Every file is decoded once, and all crops of an image are cut from it at its full size. They
        depend on the cropper, the epoch and the index of the image alone.

        Args:
            cropper: draws the boxes, from (height, width, epoch, index).

        Returns:
            `Batches` of `{"crops", "index"[, "label"]}`, "crops" a tuple of uint8
            `[b, size, size, c]`, one for each of `cropper.sizes`.

        Raises:
            ValueError: crops cannot be cut; see `can_cut`.
        """
        if not self.can_cut:
            raise ValueError(
                f"crops are cut from image files; {self.source.name} has none that are larger "
                "than its images, or its batches were mapped already."
            )
        return self._replace(cropper=cropper)

    def of_worker(self, worker: int, workers: int) -> Batches:
        """The rows of every batch that are one worker's: those images alone are read.

        Put one after the other, the rows of all workers are the batch of one worker alone.

        Args:
            worker: number of the worker, from 0.
            workers: how many there are; the batch size must be a multiple of it.

        Returns:
            `Batches` of `batch_size // workers` rows.

        Raises:
            ValueError: there is no such worker, the batch size is not a multiple of `workers`, a
                last batch is smaller, or the batches were made anew by a method such as `unbatch`.
        """
        return self._replace(share=(worker, workers))

    @property
    def keeps_batches(self) -> bool:
        """Whether every element is made of one batch of the source, so that workers can share."""
        return all(transform.keeps_batches for transform in self.transforms)

    def from_service(self, address: str) -> Batches:
        """The same batches, made by the processes of a tf.data service.

        Theirs is the work of reading and decoding. Batches come in their order, so that a run can
        be resumed exactly, where the service has one worker; of several, each makes whole epochs,
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
        if not self.source.can_run_in_service:
            raise ValueError(
                f"{self.source.name} is read by Python in this process, and a tf.data service "
                "cannot. Leave the service out, or make a TFDS data set of the images: "
                "'tfds:NAME/SPLIT' can be read there."
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
                f"A batch must divide by its {workers} workers, which are numbered from 0; "
                f"received batch_size={self.batch_size} and worker {worker}. Give a batch_size "
                f"that is a multiple of {workers}."
            )
        if workers > 1 and not self.drop_remainder and self.source.num_images % self.batch_size:
            raise ValueError(
                f"The last batch of {self.source.name} has fewer images than the others, so that "
                f"{workers} workers cannot share it; give drop_remainder=True."
            )
        if workers > 1 and not self.keeps_batches:
            names = ", ".join(t.name for t in self.transforms if not t.keeps_batches)
            raise ValueError(f"Several workers cannot share batches that {names} made anew.")

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
        """Position of the last transform that repeats without an end."""
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
            # Each worker of the service takes epochs that no other has.
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
    """The number of elements, infinity as TensorFlow has it, or None where it is unknown."""
    length = int(tf.data.Dataset.cardinality(dataset))
    return None if length == tf.data.UNKNOWN_CARDINALITY else length


def _options() -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # All parallelism is explicit: with the autotuner, giving up an iterator waits for its tick.
    options.autotune.enabled = False
    # There are no files to split. Several workers divide the rows themselves: see `of_worker`.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
