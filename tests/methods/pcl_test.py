import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data
from cl_keras.clustering import concentrations_of
from cl_keras.methods import PCL
from tests.tiny import VIEWS, tiny_encoder


def tiny_pcl(**options):
    keras.utils.set_random_seed(0)
    options = {
        "num_images": 32,
        "num_clusters": (3, 5),
        "warmup_epochs": 0,
        "queue_size": 16,
        "shuffle_bn_groups": 1,
        "momentum": 0.9,
    } | options
    model = PCL(tiny_encoder(), views=VIEWS, seed=1, **options)
    model.compile(keras.optimizers.SGD(0.05))
    return model


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def loss_by_hand(query, key, queue, clusters, index, tau):
    """InfoNCE + the mean of ProtoNCE, by loops over images."""
    total = 0.0
    for i, q in enumerate(query):
        scores = np.array([q @ key[i]] + [q @ k for k in queue]) / tau
        total += np.log(np.exp(scores).sum()) - scores[0]
        for centroids, assignments, phi in clusters:
            scores = np.array([q @ c / p for c, p in zip(centroids, phi, strict=True)])
            own = scores[assignments[index[i]]]
            total += (np.log(np.exp(scores).sum()) - own) / len(clusters)
    return total / len(query)


def test_a_step_is_the_paper_in_numpy(images, float64):
    model, twin = tiny_pcl(), tiny_pcl()
    source = data.load(images)
    batches = source.batches(32, seed=4)
    twin.recluster(batches, 0)
    element = next(iter(batches))
    view0, view1 = VIEWS(element["image"], seed=1, step=0)
    query = unit(twin.head(twin.encoder(view0, training=True)).numpy())
    twin.momentum_encoder.follow(0)
    key = unit(twin.momentum_encoder(view1, training=True).numpy())
    clusters = [
        (c.centroids.numpy(), c.assignments.numpy(), c.concentrations.numpy())
        for c in twin.clusters
    ]
    queue, index = twin.queue.keys.numpy(), element["index"].numpy()
    expected = loss_by_hand(query, key, queue, clusters, index, 0.2)
    history = model.fit(batches, epochs=1, verbose=0).history
    np.testing.assert_allclose(history["loss"], [expected], rtol=0, atol=1e-9)
    for own, other in zip(model.clusters, twin.clusters, strict=True):
        np.testing.assert_array_equal(own.assignments, other.assignments)


def test_the_concentration_is_its_formula(random):
    centroids = unit(random.normal(size=[4, 3]))
    clusters = np.array([0, 0, 0, 1, 1, 2])  # the third has one member, the fourth none
    vectors = unit(random.normal(size=[6, 3]))
    phi = np.zeros(4)
    for k in (0, 1):
        members = vectors[clusters == k]
        distances = [np.sqrt(((v - centroids[k]) ** 2).sum()) for v in members]
        phi[k] = sum(distances) / (len(members) * np.log(len(members) + 10))
    phi[2:] = phi[:2].max()
    phi = np.clip(phi, np.percentile(phi, 10), np.percentile(phi, 90))
    received = concentrations_of(vectors, centroids, clusters, 0.2)
    np.testing.assert_allclose(received, 0.2 * phi / phi.mean(), rtol=1e-12)


def test_during_the_warm_up_it_equals_moco(images, float64):
    """Without prototypes, the loss is only InfoNCE, and the clusters are the initial ones."""
    model = tiny_pcl(warmup_epochs=1)
    twin = tiny_pcl(warmup_epochs=1)
    batch = images[:16]
    view0, view1 = VIEWS(batch, seed=1, step=0)
    query = unit(twin.head(twin.encoder(view0, training=True)).numpy())
    twin.momentum_encoder.follow(0)
    key = unit(twin.momentum_encoder(view1, training=True).numpy())
    expected = loss_by_hand(query, key, twin.queue.keys.numpy(), [], None, 0.2)
    one = tf.data.Dataset.from_tensors({"image": batch, "index": np.arange(16)})
    history = model.fit(one, epochs=1, verbose=0).history
    np.testing.assert_allclose(history["loss"], [expected], rtol=0, atol=1e-10)
    assert all((c.assignments.numpy() == -1).all() for c in model.clusters)
    model.fit(data.load(images), batch_size=16, initial_epoch=1, epochs=2, verbose=0)
    assert all((c.assignments.numpy() >= 0).all() for c in model.clusters)


def test_drawn_prototypes_leave_out_the_own_cluster(images, float64):
    model = tiny_pcl(num_clusters=(8,), num_negative_prototypes=5)
    model.recluster(data.load(images).batches(16), 0)
    clusters = model.clusters[0]
    query = unit(np.random.default_rng(1).normal(size=[32, 128]))
    index = np.arange(32)
    model.step.assign(3)
    objective = model._proto_nce(clusters, tf.constant(query), index, training=True)
    drawn = tf.random.stateless_uniform([5], [1, 3], 0, 8, tf.int32, alg="philox").numpy()
    own = clusters.assignments.numpy()
    phi = clusters.concentrations.numpy()
    cosines = query @ clusters.centroids.numpy().T
    losses, hits = [], []
    for i in range(32):
        logits = [cosines[i, k] / phi[k] for k in [own[i], *drawn[drawn != own[i]]]]
        losses.append(np.log(np.exp(logits).sum()) - logits[0])
        hits.append(np.argmax(logits) == 0)
    np.testing.assert_allclose(objective.loss, np.mean(losses), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(objective.hits, np.stack([hits, np.ones(32)], axis=1))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_images": 16}, "was made for num_images=16; array has 32"),
        ({"queue_size": 64}, "queue of 64 keys is larger"),
        ({"shuffle_bn_groups": 3}, "shuffle_bn_groups=3 must divide"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        tiny_pcl(**options).fit(images, batch_size=16, verbose=0)


def test_images_without_index_and_too_many_clusters_are_refused(images):
    with pytest.raises(ValueError, match="PCL needs the index of each image"):
        tiny_pcl().fit(tf.data.Dataset.from_tensors({"image": images}), verbose=0)
    with pytest.raises(ValueError, match="at most 32, the number of images; received 33"):
        tiny_pcl(num_clusters=(33,))
