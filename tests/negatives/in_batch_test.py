import numpy as np
import tensorflow as tf

from cl_keras.negatives import in_batch


def test_targets_and_masks_are_as_in_the_drawing(random):
    view0, view1 = random.normal(size=[2, 3, 4])
    targets, scores = in_batch(view0, view1)
    np.testing.assert_array_equal(targets, [3, 4, 5, 0, 1, 2])
    np.testing.assert_array_equal(np.isneginf(scores), np.eye(6, dtype=bool))
    unit = np.concatenate([view0, view1])
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    off = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(scores.numpy()[off], (unit @ unit.T)[off], atol=1e-12)


def test_two_replicas_see_the_global_batch(mirrored, random):
    views = random.normal(size=[2, 4, 3])
    expected_targets, expected = in_batch(views[0], views[1])

    def per_replica(context):
        start = 2 * context.replica_id_in_sync_group
        return tf.constant(views[:, start : start + 2])

    local = mirrored.experimental_distribute_values_from_function(per_replica)
    targets, scores = mirrored.run(tf.function(lambda v: in_batch(v[0], v[1])), args=[local])
    for replica in range(2):
        rows = [2 * replica, 2 * replica + 1, 4 + 2 * replica, 5 + 2 * replica]
        np.testing.assert_array_equal(targets.values[replica], expected_targets.numpy()[rows])
        np.testing.assert_allclose(scores.values[replica], expected.numpy()[rows], atol=1e-12)
