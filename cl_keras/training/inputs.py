"""What goes into `fit` and `evaluate`: images in any form, on any number of workers."""

import numpy as np
import tensorflow as tf

from cl_keras.data import Batches, Source, load

DEFAULT_BATCH_SIZE = 256


def image_batches(x, batch_size, *, seed, shuffle):
    """Images as a dataset of batches.

    Args:
        x: a uint8 array, a source of `data.load`, or a `tf.data.Dataset`, which is left as it is.
        batch_size: of an array or a source; None for the default.
        seed: of the order.
        shuffle: whether there is one other than that of the images.

    Raises:
        ValueError: for images in another form.
    """
    if isinstance(x, np.ndarray) or tf.is_tensor(x):
        x = load(np.asarray(x))
    if isinstance(x, Source):
        size = batch_size or min(DEFAULT_BATCH_SIZE, len(x))
        return x.batches(size, seed=seed, shuffle=shuffle, drop_remainder=True)
    if batch_size is not None:
        raise ValueError("batch_size is for arrays and sources; a dataset brings its own batches.")
    if isinstance(x, tf.data.Dataset):
        return x
    raise ValueError(
        "images must be a uint8 array, a source of data.load, its .batches(...), or a "
        f"tf.data.Dataset; received {type(x).__name__}."
    )


def for_workers(strategy, dataset, begin=lambda dataset: dataset):
    """Batches as Keras takes them, of which each of several workers reads its own rows alone.

    Left to itself, TensorFlow lets every worker read all images and keep its share.

    Args:
        strategy: the `tf.distribute.Strategy` of the model.
        dataset: a `tf.data.Dataset` of global batches. One that is no `Batches` does not say which
            images it will read, and is left to TensorFlow.
        begin: function of a dataset, to the one that is iterated: such as the epochs to come.

    Returns:
        A `tf.data.Dataset` of global batches, or a `tf.distribute.DistributedDataset`.
    """
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not several or not isinstance(dataset, Batches):
        return begin(dataset)

    def own(context):
        rows = begin(dataset.of_worker(context.input_pipeline_id, context.num_input_pipelines))
        replicas = context.num_replicas_in_sync
        if replicas == context.num_input_pipelines:
            return rows
        return rows.rebatch(dataset.batch_size // replicas, drop_remainder=True)

    return strategy.distribute_datasets_from_function(own)
