import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras.clustering import spherical_k_means
from cl_keras.losses import softmax_over_candidates
from cl_keras.methods.deep_cluster import DeepCluster
from cl_keras.training.objective import mean_over
from cl_keras.views import swav
from tests.tiny import tiny_encoder

CROPS = swav(12, 1, small_views=1, crop_area=[(0.4, 1.0), (0.4, 1.0), (0.1, 0.4)])
"""Shared, so that its compiled function is compiled once."""


def tiny_deep_cluster(**options):
    keras.utils.set_random_seed(0)
    options = {"num_images": 32, "num_clusters": 4, "views": CROPS, "seed": 1} | options
    model = DeepCluster(tiny_encoder(), **options)
    model.compile(keras.optimizers.SGD(0.05))
    return model


def batches(images, size=16):
    pairs = {"image": images, "index": np.arange(len(images), dtype="int64")}
    return tf.data.Dataset.from_tensor_slices(pairs).batch(size, drop_remainder=True)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def test_an_epoch_is_the_paper_in_numpy(images, float64):
    """A batch that leaves out four images: embeddings, clusters, loss and stored state."""
    model, twin = tiny_deep_cluster(), tiny_deep_cluster()
    batch = images[:28]
    history = model.fit(batches(batch, 28), verbose=0).history

    stored = [unit(z) for z in twin.encode_views(CROPS(batch, seed=3, step=0)[:2], True)]
    views = CROPS(batch, seed=1, step=0)
    z = [unit(one.numpy()) for one in twin.encode_views(views, True)]
    total = 0.0
    for head in range(3):
        centroids, clusters = spherical_k_means(stored[head % 2], 4, seed=[1, 0, head])
        found = model.memory.clusterings[head]
        np.testing.assert_allclose(found.centroids, centroids, rtol=0, atol=1e-10)
        np.testing.assert_array_equal(found.assignments[:28], clusters)
        for one in z:
            logs = log_softmax(one @ centroids.T / 0.1)
            total -= logs[np.arange(28), clusters].mean() / 3 / 3
    np.testing.assert_allclose(history["loss"], [total], rtol=0, atol=1e-10)
    for clusters in model.memory.clusterings:
        assert (clusters.assignments.numpy()[28:] == -1).all()
    for bank, rows in zip(model.memory.banks, z[:2], strict=True):
        np.testing.assert_allclose(bank.bank[:28], rows, rtol=0, atol=1e-10)


def test_images_without_a_cluster_do_not_contribute_to_the_loss(random, float64):
    scores = tf.constant(random.uniform(-1, 1, [6, 4]))
    targets = tf.constant([0, -1, 2, 3, -1, 1])
    objective = mean_over(softmax_over_candidates(targets, scores, 0.1))
    known = [0, 2, 3, 5]
    logs = log_softmax(scores.numpy()[known] / 0.1)
    expected = -logs[np.arange(4), [0, 2, 3, 1]].mean()
    np.testing.assert_allclose(objective.loss, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(objective.hits[:, 1], [1, 0, 1, 1, 0, 1])
    assert mean_over(softmax_over_candidates(tf.fill([6], -1), scores, 0.1)).loss == 0


def test_the_defaults_are_the_papers():
    config = DeepCluster(tiny_encoder(), views=CROPS, num_images=5000).get_config()
    names = ("num_clusters", "num_clusterings", "iterations", "temperature")
    assert [config[name] for name in names] == [3000, 3, 10, 0.1]


def test_unsuitable_data_is_refused(images):
    model = tiny_deep_cluster()
    with pytest.raises(ValueError, match="needs the index of each image"):
        model.fit(tf.data.Dataset.from_tensors({"image": images}), verbose=0)
    with pytest.raises(ValueError, match="num_images=20; .* has 32"):
        tiny_deep_cluster(num_images=20).fit(images, batch_size=4, verbose=0)
    with pytest.raises(ValueError, match="at most 32, the number of images; received 40"):
        tiny_deep_cluster(num_clusters=40)
    with pytest.raises(ValueError, match="at least 2 views"):
        tiny_deep_cluster(views=lambda images, **draw: images)
