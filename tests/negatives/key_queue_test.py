import numpy as np
import pytest
import tensorflow as tf

from cl_keras.negatives import KeyQueue


def ring_by_hand(start, batches):
    """A list that drops its oldest key, rearranged as a ring."""
    ring, pointer = start.copy(), 0
    for batch in batches:
        for row in batch:
            ring[pointer] = row / np.linalg.norm(row)
            pointer = (pointer + 1) % len(ring)
    return ring, pointer


@pytest.mark.parametrize("size, batch", [(6, 3), (7, 3), (5, 5), (4, 9), (5, 13)])
def test_it_wraps_at_any_size_and_the_oldest_goes_first(random, float64, size, batch):
    queue = KeyQueue(size, 4)
    start = queue.keys.numpy()
    np.testing.assert_allclose(np.linalg.norm(start, axis=1), 1.0, atol=1e-12)
    batches = random.normal(size=[5, batch, 4])
    push = tf.function(queue.push)
    for keys in batches:
        push(keys)
    ring, pointer = ring_by_hand(start, batches)
    np.testing.assert_allclose(queue.keys, ring, rtol=0, atol=1e-12)
    assert int(queue.pointer) == pointer


def test_two_replicas_hold_the_keys_of_both(random, float64, mirrored):
    batches = random.normal(size=[3, 4, 2])
    alone = KeyQueue(5, 2)
    with mirrored.scope():
        shared = KeyQueue(5, 2)
    push = tf.function(lambda keys: mirrored.run(shared.push, args=[keys]))
    for keys in batches:
        alone.push(keys)
        push(
            mirrored.experimental_distribute_values_from_function(
                lambda context, keys=keys: tf.constant(
                    keys[2 * context.replica_id_in_sync_group :][:2]
                )
            )
        )
    for copy in shared.keys.value.values:
        np.testing.assert_array_equal(copy, alone.keys)
    for copy in shared.pointer.value.values:
        assert int(copy) == int(alone.pointer) == 2


def test_an_empty_queue_is_refused():
    with pytest.raises(ValueError, match="size must be at least 1 key; received 0"):
        KeyQueue(0, 4)
