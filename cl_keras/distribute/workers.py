"""Functions for processes that train together."""

import numpy as np
import tensorflow as tf

_made: list[tf.distribute.Strategy] = []
"""The strategy of several workers, of which a process has at most one."""


def remember(strategy: tf.distribute.Strategy) -> tf.distribute.Strategy:
    """Registers the strategy of this process for the functions below, in and outside its scope."""
    _made[:] = [strategy]
    return strategy


def several_workers() -> tf.distribute.Strategy | None:
    """The strategy of several workers in which this process takes part, or None."""
    current = tf.distribute.get_strategy()
    if isinstance(current, tf.distribute.MultiWorkerMirroredStrategy):
        return current
    return _made[0] if _made else None


def num_workers() -> int:
    """Number of processes that train together; 1 without a strategy of several workers."""
    strategy = several_workers()
    return len(_tasks(strategy)) if strategy else 1


def worker() -> int:
    """Index of this process among the workers; 0 without a strategy of several workers."""
    strategy = several_workers()
    if strategy is None:
        return 0
    resolver = strategy.cluster_resolver
    return _tasks(strategy).index((resolver.task_type, resolver.task_id))


def is_chief() -> bool:
    """Whether this process writes files, i.e. is worker 0 or the only one."""
    return worker() == 0


def from_every_worker(number: int) -> list[int]:
    """The `number` of each worker, in order. All workers must call it.

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
    """The exact `array` of the chief, on all workers. All workers must call it.

    Use it for results that each worker computes itself, outside of steps, since different
    processors may round differently.

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
    """Job and index of each task, the chief first."""
    spec = strategy.cluster_resolver.cluster_spec()
    jobs = sorted(set(spec.jobs) & {"chief", "worker"})
    return [(job, task) for job in jobs for task in spec.task_indices(job)]
