"""What one process has to know about the others that train with it."""

import numpy as np
import tensorflow as tf

_made: list[tf.distribute.Strategy] = []
"""The strategy over several workers, of which a process has at most one."""


def remember(strategy: tf.distribute.Strategy) -> tf.distribute.Strategy:
    """Makes the strategy of this process known to the functions below, in and out of its scope."""
    _made[:] = [strategy]
    return strategy


def several_workers() -> tf.distribute.Strategy | None:
    """The strategy over several workers that this process takes part in, or None."""
    current = tf.distribute.get_strategy()
    if isinstance(current, tf.distribute.MultiWorkerMirroredStrategy):
        return current
    return _made[0] if _made else None


def num_workers() -> int:
    """Number of processes that train together; 1 without a strategy over several workers."""
    strategy = several_workers()
    return len(_tasks(strategy)) if strategy else 1


def worker() -> int:
    """Index of this process among the workers; 0 without a strategy over several."""
    strategy = several_workers()
    if strategy is None:
        return 0
    resolver = strategy.cluster_resolver
    return _tasks(strategy).index((resolver.task_type, resolver.task_id))


def is_chief() -> bool:
    """Whether this process is the one that writes files: worker 0, or the only one."""
    return worker() == 0


def from_every_worker(number: int) -> list[int]:
    """The `number` that each worker gives, in their order. All of them must call it.

    Args:
        number: int.
    """
    strategy = several_workers()
    if strategy is None:
        return [int(number)]

    @tf.function
    def numbers():
        context = tf.distribute.get_replica_context()
        return context.all_gather(tf.constant([number], tf.int64), axis=0)

    gathered = strategy.experimental_local_results(strategy.run(numbers))[0].numpy()
    replicas = len(gathered) // num_workers()
    return gathered[::replicas].tolist()


def from_chief(array: np.ndarray) -> np.ndarray:
    """The chief's `array`, on every worker, bit for bit. All of them must call it.

    For what each worker computes for itself, outside of a step: another kind of processor may
    round another way, and copies that differ stay so.

    Args:
        array: NumPy array, of the same shape and type on each worker.
    """
    strategy = several_workers()
    if strategy is None:
        return array

    @tf.function
    def chosen(own):
        context = tf.distribute.get_replica_context()
        first = tf.equal(context.replica_id_in_sync_group, 0)
        return context.all_reduce("SUM", tf.where(first, own, tf.zeros_like(own)))

    received = strategy.run(chosen, args=(tf.constant(array),))
    return strategy.experimental_local_results(received)[0].numpy()


def _tasks(strategy):
    """Job and number of each task, the chief first."""
    spec = strategy.cluster_resolver.cluster_spec()
    jobs = sorted(set(spec.jobs) & {"chief", "worker"})
    return [(job, task) for job in jobs for task in spec.task_indices(job)]
