"""The global batch, as seen from one replica.

Every function also works on a single device, so a method is written only once.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import keras
import tensorflow as tf

from cl_keras import loops


def _context():
    return tf.distribute.get_replica_context()


def num_replicas() -> int:
    """Number of replicas that share the global batch; 1 without a strategy."""
    context = _context()
    return context.num_replicas_in_sync if context else 1


def first_row(local_rows: int | tf.Tensor) -> tf.Tensor:
    """Row of the global batch at which this replica's rows begin.

    Args:
        local_rows: number of rows on this replica, the same on each.

    Returns:
        An int32 scalar tensor, `replica_id * local_rows`.
    """
    context = _context()
    replica = context.replica_id_in_sync_group if context else 0
    return tf.cast(replica, tf.int32) * local_rows


def own_rows(local_rows: int | tf.Tensor) -> tf.Tensor:
    """The rows of the global batch that are on this replica, int32 `[local_rows]`.

    Args:
        local_rows: number of rows on this replica, the same on each.
    """
    return first_row(local_rows) + tf.range(local_rows)


_MICRO_BATCH = contextvars.ContextVar("micro_batch", default=(0, 1))


@contextlib.contextmanager
def micro_batch(number: int, count: int) -> Iterator[None]:
    """A context in which the current rows are micro-batch `number` of `count`, counted from 0.

    Gradient accumulation processes a replica's batch in micro-batches; see `batch_row`.
    """
    token = _MICRO_BATCH.set((number, count))
    try:
        yield
    finally:
        _MICRO_BATCH.reset(token)


def batch_row(local_rows: int | tf.Tensor) -> tf.Tensor:
    """As `first_row`, but in the batch of the whole step, even inside a micro-batch.

    Draws that depend on this row are the same however the batch is divided.
    """
    number, count = _MICRO_BATCH.get()
    return first_row(local_rows * count) + number * local_rows


def gather(rows: tf.Tensor) -> tf.Tensor:
    """The global batch `[B, ...]` made of every replica's `rows`, in replica order.

    Gradients flow back to the replica that each row came from.

    Args:
        rows: `[b, ...]`, the same `b` on each replica.
    """
    if num_replicas() == 1:
        return rows
    # Several workers gather onto the device of `rows`, which the input of a function lacks.
    gathered = _context().all_gather(tf.identity(rows), axis=0)
    return tf.ensure_shape(gathered, [None, *rows.shape[1:]])  # all_gather forgets the width


def sum_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """The sum of every replica's `values`, of the same shape, on each of them."""
    if num_replicas() == 1:
        return values
    return _context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def max_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """The elementwise maximum of every replica's `values`, of the same shape, on each of them."""
    if num_replicas() == 1:
        return values
    return tf.reduce_max(gather(values[tf.newaxis]), axis=0)


def read_rows(variable: keras.Variable, index: tf.Tensor) -> tf.Tensor:
    """Rows of a Keras variable, `[..., d]`.

    `tf.gather` of a variable would first read all of it, which may copy it; see `write_rows`.

    Args:
        variable: `keras.Variable` `[n, d]`.
        index: int `[...]` in 0..n-1. Others are an error on a CPU, but give zeros on a GPU.
    """
    own = variable.value
    return tf.raw_ops.ResourceGather(resource=own.handle, indices=index, dtype=own.dtype)


def write_rows(variable: keras.Variable, index: tf.Tensor, rows: tf.Tensor) -> None:
    """Writes rows of a Keras variable in place, the same on every replica.

    After TensorFlow has written rows of a variable, each reading of the variable copies all of it,
    unless that is turned off. Then a tensor that was read shares the memory of the variable, and
    writing copies all of it if that tensor is still in use.

    `scatter_update` of a mirrored variable returns the variable, and so reads and copies all of it:
    3.8 s for 1.28 M × 128 on two CPU devices, where this takes 4 ms.

    Args:
        variable: `keras.Variable` `[n, ...]`, with `aggregation="only_first_replica"`.
        index: int `[b]`, the same on every replica.
        rows: `[b, ...]`, likewise.
    """

    def write(own, index, rows):
        own.scatter_update(tf.IndexedSlices(rows, index))
        if not loops.in_xla():  # which knows neither the copies nor this operation
            tf.raw_ops.DisableCopyOnRead(resource=own.handle)
        return tf.no_op()

    def everywhere(strategy, index, rows):
        strategy.extended.update(variable.value, write, args=(index, rows))

    _context().merge_call(everywhere, args=(index, rows))
