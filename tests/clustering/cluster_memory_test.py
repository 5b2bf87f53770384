import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras.clustering import ClusterMemory, spherical_k_means


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_embeddings_are_stored_at_their_index(random, float64):
    memory = ClusterMemory(6, 3, 2)
    first, second = random.normal(size=[2, 2, 3])
    assert memory.is_empty()
    memory.remember(tf.constant([4, 1]), [first, second])
    assert not memory.is_empty()
    for bank, rows in zip(memory.banks, (first, second), strict=True):
        expected = np.zeros([6, 3])
        expected[[4, 1]] = unit(rows)
        np.testing.assert_allclose(bank.bank, expected, rtol=0, atol=1e-12)
    assert (memory.clusters_of([0, 4]).numpy() == -1).all()


def test_clusters_equal_k_means_on_the_banks_in_turn(random, float64):
    memory = ClusterMemory(20, 3, 4, num_heads=3, seed=5)
    rows = random.normal(size=[2, 18, 3])
    stored = np.delete(np.arange(20), [7, 11])
    memory.remember(stored, list(rows))
    memory.recluster(epoch=2)
    for head in range(3):
        vectors = memory.banks[head % 2].bank.numpy()[stored]
        centroids, clusters = spherical_k_means(vectors, 4, seed=[5, 2, head])
        np.testing.assert_array_equal(memory.centroids()[head], centroids)
        np.testing.assert_array_equal(memory.clusters_of(stored)[head], clusters)
    assert (memory.clusters_of([7, 11]).numpy() == -1).all()


def test_replicas_store_what_all_of_them_saw(random, mirrored):
    rows = random.normal(size=[4, 3]).astype("float32")
    with mirrored.scope():
        memory = ClusterMemory(6, 3, 2)

    def local(context):
        begin = 2 * context.replica_id_in_sync_group
        return tf.constant(rows[begin : begin + 2]), tf.constant([5, 3, 0, 1][begin : begin + 2])

    values = mirrored.experimental_distribute_values_from_function(
        lambda context: local(context)[0]
    )
    index = mirrored.experimental_distribute_values_from_function(lambda context: local(context)[1])
    mirrored.run(tf.function(lambda i, v: memory.remember(i, [v, -v])), args=[index, values])
    for copy in memory.banks[0].bank.value.values:
        np.testing.assert_allclose(copy.numpy()[[5, 3, 0, 1]], unit(rows), rtol=0, atol=1e-6)
        assert not copy.numpy()[[2, 4]].any()


def test_it_survives_its_config():
    memory = ClusterMemory(6, 3, 2, num_heads=1, num_banks=1, iterations=4, seed=2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(memory))
    assert again.get_config() == memory.get_config()


def test_too_few_images_are_refused(random):
    with pytest.raises(ValueError, match="at most 5, the number of images; received 6"):
        ClusterMemory(5, 3, 6)
    memory = ClusterMemory(6, 3, 4)
    memory.remember(tf.constant([0, 2]), list(random.normal(size=[2, 2, 3])))
    with pytest.raises(ValueError, match="Embeddings of 2 images .* fewer than the 4 clusters"):
        memory.recluster(0)
