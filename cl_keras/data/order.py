"""The order of an epoch, as a pure function of (seed, epoch)."""

import operator

import tensorflow as tf


def order(seed, epoch, n, *, part=None):
    """A permutation of 0 … n-1 that depends on its arguments alone.

    No state is kept anywhere, so epoch 7 has the same order whether epochs 0 to 6 were run before
    it or not, in eager mode and inside a graph, on every replica. `tf.random.set_seed` and
    `keras.utils.set_random_seed` have no influence.

    Args:
        seed: int, or int64 scalar tensor.
        epoch: int ≥ 0, or int64 scalar tensor.
        n: int ≥ 0, or integer scalar tensor: how many indices to permute.
        part: int or int64 scalar tensor. Distinct parts of one epoch get independent
            permutations. Default: None, the whole epoch is one part.

    Returns:
        int64 tensor [n].
    """
    with tf.device("CPU:0"):
        key = epoch_key(seed, epoch)
        if part is not None:
            key = tf.random.experimental.stateless_fold_in(key, tf.cast(part, tf.int64), "philox")
        indices = tf.range(tf.cast(n, tf.int64))
        return tf.random.experimental.stateless_shuffle(indices, seed=key, alg="philox")


def epoch_key(seed, epoch):
    """The key [2] (int64) from which all randomness of one epoch is drawn."""
    return tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])


def as_int(value, name, *, at_least=None):
    """`value` as an int, whatever integer type it came in.

    Args:
        value: int or anything with `__index__`; a bool is refused.
        name: str, what the error calls it.
        at_least: smallest permitted value. Default: None, any int64.

    Returns:
        int.

    Raises:
        TypeError: not an integer.
        ValueError: below `at_least`, or no int64.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, received {value!r} ({type(value).__name__}).")
    number = operator.index(value)
    if at_least is not None and number < at_least:
        raise ValueError(f"{name} must be an int of at least {at_least}, received {number}.")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} must fit into 64 bits (signed), received {number}.")
    return number
