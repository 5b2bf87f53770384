"""The order of an epoch, as a pure function of (seed, epoch)."""

from __future__ import annotations

import operator
from typing import Any

import tensorflow as tf


def order(
    seed: int | tf.Tensor,
    epoch: int | tf.Tensor,
    n: int | tf.Tensor,
    *,
    block: int | tf.Tensor | None = None,
) -> tf.Tensor:
    """A permutation of 0 … n-1 that depends only on its arguments.

    No state is kept, so epoch 7 has the same order whether or not epochs 0 to 6 were run before it,
    in eager mode and inside a graph, on every replica. `tf.random.set_seed` and
    `keras.utils.set_random_seed` have no influence.

    Args:
        seed: int, or int64 scalar tensor.
        epoch: int ≥ 0, or int64 scalar tensor.
        n: int ≥ 0, or integer scalar tensor; the number of indices to permute.
        block: int or int64 scalar tensor. The blocks of one epoch get independent permutations.
            default: None, the whole epoch is one block.

    Returns:
        int64 tensor `[n]`.
    """
    with tf.device("CPU:0"):
        key = epoch_key(seed, epoch)
        if block is not None:
            key = tf.random.experimental.stateless_fold_in(key, tf.cast(block, tf.int64), "philox")
        indices = tf.range(tf.cast(n, tf.int64))
        return tf.random.experimental.stateless_shuffle(indices, seed=key, alg="philox")


def epoch_key(seed: int | tf.Tensor, epoch: int | tf.Tensor) -> tf.Tensor:
    """The key `[2]` (int64) from which all randomness of one epoch is drawn."""
    return tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64)])


def as_int(value: Any, name: str, *, at_least: int | None = None) -> int:
    """`value` as an int, whatever its integer type.

    Args:
        value: int or anything with `__index__`; a bool is refused.
        name: name of the argument, for the message.
        at_least: smallest allowed value; default: None, any int64.

    Raises:
        TypeError: not an integer.
        ValueError: below `at_least`, or not an int64.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int; received {value!r} ({type(value).__name__}).")
    number = operator.index(value)
    if at_least is not None and number < at_least:
        raise ValueError(f"{name} must be an int of at least {at_least}; received {number}.")
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{name} must fit into 64 bits (signed); received {number}.")
    return number
