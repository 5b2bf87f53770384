"""Images from TensorFlow Datasets."""

from __future__ import annotations

import functools
import os
from types import ModuleType

import numpy as np
import tensorflow as tf

from cl_keras import bounds
from cl_keras.data.cuts import cut, draw_in_epoch
from cl_keras.data.exiting import READS
from cl_keras.data.identity import Identity
from cl_keras.data.order import epoch_key, order
from cl_keras.data.pixels import fit_tensor
from cl_keras.data.source import Source
from cl_keras.spelling import did_you_mean

WHOLE = 2**30  # bytes, still encoded, of the largest data set that is shuffled whole
BLOCK = 4096  # examples of a larger data set that are shuffled together
THREADS = min(32, bounds.cores())  # for decoding
READERS = 4  # files read at the same time


class TFDSSource(Source):
    """One split of a data set of TensorFlow Datasets, which is prepared if necessary.

    Examples are read in their stored order, which defines their indices, and decoded in the
    pipeline. A data set of up to 1 GiB as stored is shuffled whole, for which it is held in memory,
    encoded. A larger one is shuffled in blocks of 4,096 examples: the order within a block is
    uniform, and the boundaries of the blocks move in each epoch, but the blocks stay in the stored
    order. For a memory bank that is not enough; see `training.bank_model`.

    `images` and the first use of `labels` read through the data set; `batches` is the fast way.

    Args:
        name: name of the data set in TFDS: "cifar10", "name:1.0.0", "name/config:1.0.0".
        split: "train", or anything TFDS understands, such as "train[:10%]"; default: "train".
        image_size: side in pixels; default: None, in which case the data set must declare one size.
        channels: 1 or 3; default: None, as in the data set.
        labels: "auto" or None; default: "auto", from an integer feature named "label".
        data_dir: path of the prepared data sets; default: None, the default of TFDS.
        progress: show the progress bars of the preparation; default: True.

    Raises:
        ImportError: tensorflow_datasets cannot be imported.
        ValueError: there is no such data set, split, or image feature.
    """

    def __init__(
        self,
        name: str,
        split: str = "train",
        *,
        image_size: int | None = None,
        channels: int | None = None,
        labels: str | None = "auto",
        data_dir: str | os.PathLike | None = None,
        progress: bool = True,
    ):
        tfds = import_tfds()
        builder = _prepared(tfds, name, data_dir, progress)
        self._key, self._feature = _image_feature(tfds, name, builder.info.features)
        found = self._feature.shape[-1] or 3
        self._image_size = image_size
        self._facts = {"name": builder.info.full_name, "split": split}
        self._channels = channels or (1 if found == 1 else 3)
        label = None if labels is None else _label_feature(builder.info.features)
        self._has_labels = label is not None
        self._examples = _encoded(tfds, builder, split, self._key, self._has_labels)
        num_images = _num_examples(builder, split)
        self._block = num_images if num_images * _mean_bytes(builder) <= WHOLE else BLOCK
        super().__init__(
            f"tfds:{name}/{split}",
            num_images,
            (*_size(name, self._feature, image_size), self._channels),
            class_names=getattr(label, "names", None),
        )

    @property
    def has_labels(self) -> bool:
        """Whether elements carry a label. Never costs a pass over the data."""
        return self._has_labels

    @property
    def can_run_in_service(self) -> bool:
        """True: TensorFlow reads the images without Python."""
        return True

    @property
    def shuffles_whole(self) -> bool:
        """Whether all examples are shuffled together."""
        return self._block >= self.num_images

    @property
    def labels(self) -> np.ndarray | None:
        """int64 `[n]`, or None; the first use reads through the data set."""
        if self._has_labels and self._labels is None:
            numbers = self._examples.map(lambda example: example["label"]).batch(4096)
            self._labels = np.concatenate(list(numbers.as_numpy_iterator()))
        return self._labels

    def identity(self) -> Identity:
        """The data set with its version, and the split, which determine the order."""
        return Identity({"kind": "tfds", "num_images": self.num_images, **self._facts})

    @property
    def cuts(self) -> bool:
        """Whether the images have different sizes, as photographs do."""
        return self._image_size is not None and None in self._feature.shape[:2]

    def epoch(
        self,
        epoch,
        batch_size,
        *,
        seed,
        shuffle,
        drop_remainder,
        skip=0,
        share=(0, 1),
        cropper=None,
    ):
        """One epoch as a dataset; see `Source.epoch`. Skipped images are not decoded."""
        examples = self._numbered()
        if shuffle:
            examples = self._shuffle(examples, seed, epoch)
        worker, workers = share
        rows = batch_size // workers
        if workers > 1:
            # No worker may keep its rows of a last batch that is dropped.
            examples = examples.take(self.num_images // batch_size * batch_size)
            examples = _of_worker(examples, worker, rows, batch_size)
        return (
            examples.skip(skip * rows)
            .map(
                self._decode if cropper is None else self._cutting(epoch, cropper),
                num_parallel_calls=THREADS,
                deterministic=True,
            )
            .batch(rows, drop_remainder=drop_remainder)
        )

    def glances(self, indices, side):
        """See `Source.glances`; always the first images, since reading others would take long."""
        for example in self._examples.take(len(indices)):
            image = self._feature.decode_example(example["image"])
            yield image.shape[:2], image.numpy()

    def _shuffle(self, examples, seed, epoch):
        block = self._block
        first = tf.constant(block, tf.int64)  # the length of the first block
        if not self.shuffles_whole:
            first = tf.random.stateless_uniform(
                [], epoch_key(seed, epoch), 1, block + 1, tf.int64, alg="philox"
            )
        head, rest = examples.take(first).batch(block), examples.skip(first).batch(block)

        @tf.autograph.experimental.do_not_convert
        def mixed(number, together):
            positions = order(seed, epoch, tf.shape(together["index"])[0], block=number)
            return tf.data.Dataset.from_tensor_slices(positions).map(
                lambda i: {key: value[i] for key, value in together.items()}
            )

        return head.concatenate(rest).prefetch(1).enumerate().flat_map(mixed)

    def _numbered(self):
        return self._examples.enumerate().map(lambda index, example: {**example, "index": index})

    @tf.autograph.experimental.do_not_convert
    def _decode(self, example):
        image = self._feature.decode_example(example["image"])
        image = fit_tensor(image, image_size=self._image_size, channels=self._channels)
        image.set_shape(self.image_shape)
        return {**example, "image": image}

    def _cutting(self, epoch, cropper):
        """A function from an encoded example to one of crops."""
        channels = self._channels

        def read(data, index, epoch):
            draw = functools.partial(draw_in_epoch, cropper, int(epoch))
            with READS.one():
                return tuple(cut(data, int(index), cropper.sizes, draw, channels=channels))

        @tf.autograph.experimental.do_not_convert
        def cutting(example):
            inputs = [example["image"], example["index"], epoch]
            crops = tf.numpy_function(read, inputs, [tf.uint8] * len(cropper.sizes))
            for crop, size in zip(crops, cropper.sizes, strict=True):
                crop.set_shape([size, size, channels])
            kept = {key: value for key, value in example.items() if key != "image"}
            return {"crops": tuple(crops), **kept}

        return cutting

    def _read(self, indices):
        wanted = np.zeros(self.num_images, bool)
        wanted[indices] = True
        chosen = (
            self._numbered()
            .take(int(indices.max()) + 1)
            .filter(lambda example: tf.constant(wanted)[example["index"]])
            .map(self._decode, num_parallel_calls=THREADS, deterministic=True)
        )
        images = {int(e["index"]): e["image"] for e in chosen.as_numpy_iterator()}
        return np.stack([images[index] for index in indices.tolist()]), indices


def _of_worker(examples, worker, rows, batch_size):
    """The examples of one worker, which has `rows` of each batch."""

    @tf.autograph.experimental.do_not_convert
    def own(position, example):
        return position % batch_size // rows == worker

    return examples.enumerate().filter(own).map(lambda position, example: example)


def import_tfds() -> ModuleType:
    """The module tensorflow_datasets, imported only when needed, since that takes seconds.

    Raises:
        ImportError: the message has the command that installs what is missing.
    """
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            f"tensorflow_datasets, which 'tfds:…' needs, cannot be imported ({error}). Install it "
            "with importlib_resources, a dependency that it does not declare: "
            "pip install tensorflow-datasets importlib_resources"
        ) from error
    return tensorflow_datasets


def _prepared(tfds, name, data_dir, progress):
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        hint = did_you_mean(name.partition("/")[0], tfds.list_builders(), 3)
        raise ValueError(f"TensorFlow Datasets has no data set {name!r}.{hint}") from error
    tfds.display_progress_bar(progress)
    try:
        builder.download_and_prepare()
    finally:
        tfds.enable_progress_bar()
    return builder


def _image_feature(tfds, name, features):
    """(key, feature) of "image", or of the data set's only image feature."""
    images = {
        key: feature
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Image) and feature.np_dtype == np.uint8
    }
    key = "image" if "image" in images else next(iter(images), None)
    if key is None or (key != "image" and len(images) > 1):
        raise ValueError(
            f"tfds:{name} must have one uint8 image feature, or one named 'image'; "
            f"it has {', '.join(f'{k} ({type(f).__name__})' for k, f in features.items())}."
        )
    return key, images[key]


def _label_feature(features):
    """The feature "label" where it is one integer per image; otherwise None."""
    label = features["label"] if "label" in features.keys() else None
    usable = label is not None and label.shape == () and np.issubdtype(label.np_dtype, np.integer)
    return label if usable else None


def _num_examples(builder, split):
    try:
        count = builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"tfds:{builder.info.full_name} has no split {split!r}; it has "
            f"{', '.join(builder.info.splits)}. (The part after the last slash is the split, so a "
            "configuration needs one too, as in tfds:name/config/train.)"
        ) from error
    if count == 0:
        raise ValueError(f"the split {split!r} of tfds:{builder.info.full_name} is empty.")
    return count


def _mean_bytes(builder):
    """Mean size of an example over all splits; a slice of a split does not know its own."""
    return builder.info.dataset_size / sum(s.num_examples for s in builder.info.splits.values())


def _size(name, feature, image_size):
    if image_size is not None:
        return (image_size, image_size)
    if None in feature.shape[:2]:
        raise ValueError(
            f"the images of tfds:{name} have different sizes. Give the size to resize them to, "
            f"for example load('tfds:{name}/…', image_size=224)."
        )
    return feature.shape[:2]


def _encoded(tfds, builder, split, key, with_labels):
    """Dataset of {"image": encoded bytes[, "label": int64]} in stored order."""
    _num_examples(builder, split)  # a wrong split gets its message here
    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        decoders={key: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(
            try_autocache=False,
            skip_prefetch=True,
            interleave_cycle_length=16,  # these two decide the order, hence the indices
            interleave_block_length=16,
            num_parallel_calls_for_interleave_files=READERS,
            num_parallel_calls_for_decode=READERS,
        ),
    )

    @tf.autograph.experimental.do_not_convert
    def keep(example):
        kept = {"image": example[key]}
        if with_labels:
            kept["label"] = tf.cast(example["label"], tf.int64)
        return kept

    return dataset.map(keep)
