"""What is looked at before training begins, so that no hour is lost."""

import tensorflow as tf
from absl import logging


def check_batches(dataset, encoder, replicas, parts=1):
    """Batches must be images that the encoder takes, enough of them, the same on each replica.

    Args:
        dataset: `tf.data.Dataset` of batches.
        encoder: the `keras.Model` that they are for.
        replicas: number of replicas that share a batch.
        parts: number of parts in which a replica takes its share.

    Raises:
        ValueError: with what to change.
    """
    spec = dataset.element_spec
    spec = spec[0] if isinstance(spec, tuple) else spec
    if isinstance(spec, dict) and not {"image", "views"} & set(spec):
        raise ValueError(
            'Elements must be images, {"image"[, "index"]} or {"views"[, "index"]}; '
            f"received a dictionary of {sorted(spec)}."
        )
    first = spec.get("image", spec.get("views")) if isinstance(spec, dict) else spec
    images = tf.nest.flatten(first)[0].shape
    if images.rank != 4:
        raise ValueError(
            f"Images must come in batches [B, H, W, C]; received elements of shape {images}. "
            "Call .batch(...) on the dataset."
        )
    rows = images[0]
    if rows == 1:
        raise ValueError("A batch of 1 image has no negatives; use a batch size of at least 2.")
    if replicas > 1 and (rows is None or rows % replicas):
        raise ValueError(
            f"The global batch must divide by the {replicas} replicas; received "
            f"{rows or 'batches of unknown size'}. Batch with drop_remainder=True and a "
            f"multiple of {replicas}."
        )
    if parts > 1 and (rows is None or rows % (replicas * parts)):
        raise ValueError(
            f"gradient_accumulation={parts} takes each of {replicas} replicas' batch in as many "
            f"parts; {rows or 'batches of unknown size'} does not divide by {replicas * parts}. "
            f"Batch with drop_remainder=True and a multiple of {replicas * parts}."
        )
    channels = encoder.input_shape[-1]
    if images[-1] is not None and channels is not None and images[-1] != channels:
        raise ValueError(
            f"The encoder {encoder.name!r} takes images of {channels} channels; the data "
            f"has {images[-1]}. Load it with data.load(..., channels={channels})."
        )


def check_index(method, dataset, num_images):
    """Every image must have its place in the table of `num_images` that a method keeps.

    Args:
        method: the model, which the message names.
        dataset: `tf.data.Dataset` of batches; a `Batches` knows its source.
        num_images: rows of the table.

    Raises:
        ValueError: with what to change.
    """
    name, spec = type(method).__name__, dataset.element_spec
    if not isinstance(spec, dict) or "index" not in spec:
        raise ValueError(
            f'{name} needs the index of each image: elements of {{"image", "index"}}, such as '
            f"those of data.load; received {spec}."
        )
    source = getattr(dataset, "source", None)
    if source is not None and len(source) > num_images:
        raise ValueError(
            f"{name} was made for num_images={num_images}; {source.name} has {len(source)}."
        )


def check_order(method, dataset):
    """Warns where the order of one epoch is nearly that of the next; `BankModel` says why.

    Args:
        method: the model, which the message names.
        dataset: `tf.data.Dataset` of batches; a `Batches` knows its source.
    """
    source = getattr(dataset, "source", None)
    if source is None or (dataset.shuffled and source.shuffles_whole):
        return
    how = "is too large to be shuffled whole" if dataset.shuffled else "has shuffle=False"
    logging.warning(
        f"{source.name} {how}: each image comes at nearly the same moment of every epoch, and the "
        f"age of a row of the memory bank tells {type(method).__name__} which image it is of. Its "
        "loss will fall, and it will learn little. Image folders, data.load('folder:…'), and "
        "arrays are shuffled whole."
    )


def check_queue(dataset, size):
    """No image may meet its own old key in a queue of `size`.

    Raises:
        ValueError: if the queue is larger than the data set.
    """
    source = getattr(dataset, "source", None)
    if source is not None and size > len(source):
        raise ValueError(
            f"The queue of {size} keys is larger than the data set of {len(source)} images: an "
            "image would meet its own old key as a negative. Give queue_size at most "
            f"{len(source) // 2}."
        )


def check_parts(dataset, parts, replicas, accumulated=1):
    """The batch must divide into the parts in which keys are encoded, and these over replicas.

    Args:
        dataset: `tf.data.Dataset` of global batches.
        parts: number of parts in which keys are encoded.
        replicas: number of replicas that share a batch.
        accumulated: number of parts in which a step takes its batch, each with keys of its own.

    Raises:
        ValueError: if it does not.
    """
    rows = (tf.nest.flatten(dataset.element_spec)[0].shape[0] or 0) // accumulated
    if rows % parts:
        raise ValueError(f"key_parts={parts} must divide the {rows} images of a batch.")
    if parts > 1 and parts % replicas:
        raise ValueError(
            f"key_parts={parts} must be a multiple of the {replicas} replicas, of which each "
            f"encodes as many parts; give key_parts={-(-parts // replicas) * replicas}."
        )
    if parts == 1:
        logging.warning(
            "key_parts=1: query and key share the statistics of batch normalisation, which can "
            "give the answer away; watch k-NN accuracy, or take key_parts=4."
        )
