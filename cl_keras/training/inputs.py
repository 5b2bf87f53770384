"""The input of `fit` and `evaluate` when several workers share the images."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from cl_keras.data import Batches


def for_workers(
    strategy: tf.distribute.Strategy,
    dataset: tf.data.Dataset,
    begin: Callable[[tf.data.Dataset], tf.data.Dataset] = lambda dataset: dataset,
) -> Any:
    """Batches in a form that Keras takes, of which each worker reads only its own rows.

    By default, TensorFlow lets every worker read all images and keep its share.

    Args:
        strategy: the `tf.distribute.Strategy` of the model.
        dataset: a `tf.data.Dataset` of global batches. One that is not `Batches`, or was
            rebatched, does not say which images it will read, and is left to TensorFlow.
        begin: function from a dataset to the one to iterate, such as the remaining epochs.

    Returns:
        A `tf.data.Dataset` of global batches, or a `tf.distribute.DistributedDataset`.
    """
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not several or not isinstance(dataset, Batches) or not dataset.keeps_batches:
        return begin(dataset)

    def own(context):
        rows = begin(dataset.of_worker(context.input_pipeline_id, context.num_input_pipelines))
        replicas = context.num_replicas_in_sync
        if replicas == context.num_input_pipelines:
            return rows
        return rows.rebatch(dataset.batch_size // replicas, drop_remainder=True)

    return strategy.distribute_datasets_from_function(own)
