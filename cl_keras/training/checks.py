"""Checks that run before training begins."""

from collections.abc import Callable

import keras
import tensorflow as tf
from absl import logging

NEED_LABELS = ("y", "class_weight", "sample_weight")
NEED_TARGETS = ("metrics", "weighted_metrics", "loss_weights")
NEED_ARRAYS = ("validation_split", "validation_batch_size")


def check_fit_arguments(model: keras.Model, arguments: dict) -> None:
    """Refuses the arguments of `keras.Model.fit` that have no meaning here.

    Args:
        model: the model, named in the message.
        arguments: keyword arguments that were passed on by `fit`.

    Raises:
        ValueError: if one of them is given.
    """
    given = {name for name, value in arguments.items() if value is not None}
    if unfit := sorted(given & set(NEED_LABELS)):
        raise ValueError(
            f"{type(model).__name__}.fit takes no {unfit[0]}: a pretext task weighs no labels. "
            'Labels that a method uses come with the images, as {"image", "label"}.'
        )
    if unfit := sorted(given & set(NEED_ARRAYS)):
        raise ValueError(
            f"{type(model).__name__}.fit takes no {unfit[0]}; split the images beforehand, and "
            "pass one of the parts as validation_data, in batches of the size you want."
        )


def check_callbacks(callbacks: list) -> None:
    """Refuses a callback that would not resume the run exactly.

    Raises:
        ValueError: for `keras.callbacks.BackupAndRestore`, which keeps the variables but not the
            position in the data: it would repeat the images of the first epoch.
    """
    if any(isinstance(each, keras.callbacks.BackupAndRestore) for each in callbacks):
        raise ValueError(
            "keras.callbacks.BackupAndRestore does not know the position in the data, so a resumed "
            "run would differ from an uninterrupted one. Use cl_keras.runs.Checkpoints with its "
            "CheckpointCallback, which resume exactly, even in the middle of an epoch."
        )


def check_compile(model: keras.Model, arguments: dict) -> None:
    """Refuses settings that would fail in `fit` with a long error, or would have no effect.

    Args:
        model: the model, named in the message.
        arguments: keyword arguments of `compile` beyond its own.

    Raises:
        ValueError: for metrics of labels, for variables created outside the strategy's scope, or
            for XLA over replicas.
    """
    jit_compile = arguments.get("jit_compile")
    if unfit := [name for name in NEED_TARGETS if arguments.get(name) is not None]:
        raise ValueError(
            f"{type(model).__name__}.compile takes no {unfit[0]}: there are no labels to compare "
            "with. Its loss and accuracy are its own; evaluation.KNNMonitor, a callback of fit, "
            "measures with labels."
        )
    strategy = model.distribute_strategy
    check_scope(model.variables, strategy)
    replicas = strategy.num_replicas_in_sync
    if replicas > 1 and jit_compile is True:
        raise ValueError(
            f"jit_compile=True works on one replica; the strategy has {replicas}. Leave it out: "
            "on GPUs, XLA then compiles only the normalization layers."
        )


def check_scope(variables: list, strategy: tf.distribute.Strategy) -> None:
    """Checks that all variables of a model were created within the scope of its strategy.

    Raises:
        ValueError: if one was not.
    """
    for variable in variables:
        if not strategy.extended.variable_created_in_scope(variable.value):
            raise ValueError(
                f"{variable.path} was created outside the scope of {type(strategy).__name__}. "
                "Create or load the encoder, the head and the method inside `with "
                "strategy.scope():`, and compile there."
            )


def check_view_sizes(encoder: keras.Model, views: Callable | None) -> None:
    """Checks that views have the size that the encoder takes, if it takes only one.

    Args:
        encoder: the model that sees the views.
        views: makes the views; `views.RandomViews` know their sizes.

    Raises:
        ValueError: for a view of another size.
    """
    fixed = encoder.input_shape[1:3]
    for view in getattr(views, "views", ()):
        size = getattr(view, "image_size", None)
        if size is not None and any(side not in (None, size) for side in fixed):
            raise ValueError(
                f"The encoder {encoder.name!r} takes only images of {fixed[0]}x{fixed[1]} pixels, "
                f"and these views have {size}x{size}: use views of its size, or build it from "
                "keras.Input([None, None, channels])."
            )


def check_batches(
    dataset: tf.data.Dataset, encoder: keras.Model, replicas: int, accumulated: int = 1
) -> None:
    """Checks that batches hold images that fit the encoder and divide evenly among the replicas.

    Args:
        dataset: batches of images.
        encoder: the model they are for.
        replicas: number of replicas that share a batch.
        accumulated: number of micro-batches into which a replica splits its share; default: 1.

    Raises:
        ValueError: if they do not.
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
    if images.rank is not None and images.rank < 4:
        raise ValueError(
            f"Images must come in batches [b, h, w, c]; received elements of shape {images}. "
            "Call .batch(...) on the dataset."
        )
    rows = images[0]
    if rows == 1:
        raise ValueError("A batch of 1 image has no negatives; use a batch size of at least 2.")
    if replicas > 1 and (rows is None or rows % replicas):
        raise ValueError(
            f"The global batch must be divisible by the {replicas} replicas; received "
            f"{rows or 'batches of unknown size'}. Batch with drop_remainder=True and a "
            f"multiple of {replicas}."
        )
    if accumulated > 1 and (rows is None or rows % (replicas * accumulated)):
        raise ValueError(
            f"gradient_accumulation={accumulated} on {replicas} replicas needs batches divisible "
            f"by {replicas * accumulated}; received {rows or 'batches of unknown size'}. Batch "
            f"with drop_remainder=True and a multiple of {replicas * accumulated}."
        )
    channels = encoder.input_shape[-1]
    if images[-1] is not None and channels is not None and images[-1] != channels:
        raise ValueError(
            f"The encoder {encoder.name!r} takes images with {channels} channels; the data "
            f"has {images[-1]}. Load it with data.load(..., channels={channels})."
        )


def check_index(model: keras.Model, dataset: tf.data.Dataset, num_images: int) -> None:
    """Checks that every image has a row in the table of `num_images` that a method keeps.

    Warns if a dataset has more images than rows.

    Args:
        model: the model, named in the message.
        dataset: batches of images; a `Batches` knows its source.
        num_images: number of rows of the table.

    Raises:
        ValueError: if an image has none.
    """
    name, spec = type(model).__name__, dataset.element_spec
    if not isinstance(spec, dict) or "index" not in spec:
        raise ValueError(
            f'{name} needs the index of each image: elements of {{"image", "index"}}, such as '
            f"those of data.load; received {spec}."
        )
    source = getattr(dataset, "source", None)
    if source is not None and len(source) > num_images:
        raise ValueError(
            f"{name} was made for num_images={num_images}; {source.name} has {len(source)} images. "
            f"Give num_images={len(source)}."
        )
    batches, rows = int(dataset.cardinality()), spec["index"].shape[0]
    if source is None and rows and batches * rows > num_images:
        logging.warning(
            "%s was made for num_images=%d, and an epoch of this dataset has %d: unless images "
            "come more than once, some share a row of the memory. Number all images from 0 on.",
            *(name, num_images, batches * rows),
        )


def check_order(model: keras.Model, dataset: tf.data.Dataset) -> None:
    """Warns if all epochs have nearly the same order; `BankModel` explains why that matters.

    Args:
        model: the model, named in the message.
        dataset: batches of images; a `Batches` knows its source.
    """
    source = getattr(dataset, "source", None)
    if source is None or (dataset.shuffled and source.shuffles_whole):
        return
    reason = "is too large to be shuffled whole" if dataset.shuffled else "has shuffle=False"
    logging.warning(
        f"{source.name} {reason}: each image comes at nearly the same point of every epoch, so the "
        f"age of its row in the memory bank tells {type(model).__name__} which image it is. The "
        "loss will fall, but little will be learned. Use an image folder, data.load('folder:…'), "
        "or an array; these are shuffled whole."
    )


def check_queue(dataset: tf.data.Dataset, size: int) -> None:
    """Checks that no image meets its own old key in a queue of `size` keys.

    Raises:
        ValueError: if the queue is larger than the dataset.
    """
    source = getattr(dataset, "source", None)
    if source is not None and size > len(source):
        raise ValueError(
            f"The queue of {size} keys is larger than the dataset of {len(source)} images: an "
            "image would meet its own old key as a negative. Give queue_size at most "
            f"{len(source) // 2}."
        )


def check_shuffle_bn_groups(
    dataset: tf.data.Dataset, groups: int, replicas: int, accumulated: int = 1
) -> None:
    """Checks that the groups of shuffled batch normalization divide the batch on each replica.

    Args:
        dataset: global batches of images.
        groups: number of groups in which the keys of a batch are normalized.
        replicas: number of replicas that share a batch.
        accumulated: number of micro-batches per step, each with its own keys; default: 1.

    Raises:
        ValueError: if they do not.
    """
    rows = tf.nest.flatten(dataset.element_spec)[0].shape[0]
    if groups > 1 and rows is None:
        raise ValueError(
            f"shuffle_bn_groups={groups} must divide every batch, but the size of these batches is "
            "not known, since the last one may be smaller. Batch with drop_remainder=True."
        )
    rows = (rows or 0) // accumulated
    if rows % groups:
        raise ValueError(f"shuffle_bn_groups={groups} must divide the {rows} images of a batch.")
    if groups > 1 and groups % replicas:
        raise ValueError(
            f"shuffle_bn_groups={groups} must be a multiple of the {replicas} replicas, which "
            "encode equally many groups each; give "
            f"shuffle_bn_groups={-(-groups // replicas) * replicas}."
        )
    if groups == 1:
        logging.warning(
            "shuffle_bn_groups=1: queries and keys share batch statistics, which can give the "
            "answer away; watch k-NN accuracy, or use shuffle_bn_groups=4."
        )
