"""The global batch: what one replica has to know about the others.

Every function answers for a single device as well, so a method is written once.
"""

import tensorflow as tf


def _context():
    return tf.distribute.get_replica_context()


def num_replicas() -> int:
    """Number of replicas that share the global batch; 1 without a strategy."""
    context = _context()
    return context.num_replicas_in_sync if context else 1


def first_row(local_rows):
    """Row of the global batch at which this replica's rows begin.

    Args:
        local_rows: rows on this replica, the same number on each.

    Returns:
        An int32 scalar tensor, `replica_id * local_rows`.
    """
    context = _context()
    replica = context.replica_id_in_sync_group if context else 0
    return tf.cast(replica, tf.int32) * local_rows


def gather(rows):
    """The global batch `[B, ...]` made of every replica's `rows`, in replica order.

    Gradients flow back to the replica that each row came from.

    Args:
        rows: `[b, ...]`, the same `b` on each replica.
    """
    if num_replicas() == 1:
        return rows
    return _context().all_gather(rows, axis=0)


def sum_over_replicas(values):
    """The sum of every replica's `values`, of the same shape, on each of them."""
    if num_replicas() == 1:
        return values
    return _context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def max_over_replicas(values):
    """The elementwise maximum of every replica's `values`, of the same shape, on each of them."""
    if num_replicas() == 1:
        return values
    return tf.reduce_max(gather(values[tf.newaxis]), axis=0)
