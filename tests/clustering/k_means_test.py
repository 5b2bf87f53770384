import time

import numpy as np
import pytest
from sklearn.cluster import KMeans

from cl_keras.clustering import k_means, spherical_k_means


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def blobs(random, clusters=5, each=40, dim=6, spread=0.05):
    """Tight groups around far directions, in random order, with the group of each vector."""
    centers = np.linalg.qr(random.normal(size=[dim, dim]))[0][:clusters]
    group = random.permutation(np.repeat(np.arange(clusters), each))
    return centers[group] + spread * random.normal(size=[len(group), dim]), group


def by_hand(vectors, centroids, iterations):
    vectors = unit(vectors)
    for _ in range(iterations):
        nearest = [max(range(len(centroids)), key=lambda c: v @ centroids[c]) for v in vectors]
        centroids = np.stack(
            [
                unit(sum(v for v, n in zip(vectors, nearest, strict=True) if n == c))
                for c in range(len(centroids))
            ]
        )
    return centroids, [max(range(len(centroids)), key=lambda c: v @ centroids[c]) for v in vectors]


@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize("iterations", [1, 3])
def test_it_equals_the_definition_by_brute_force(random, chunk, iterations):
    vectors = random.normal(size=[60, 4])
    start = unit(vectors[:5])
    received = spherical_k_means(vectors, 5, start=start, iterations=iterations, chunk=chunk)
    expected = by_hand(vectors, start, iterations)
    np.testing.assert_allclose(received[0], expected[0], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(received[1], expected[1])


def test_a_step_is_scikit_learns_from_the_same_start(random):
    """For unit vectors the nearest has the largest cosine; the mean is then normalized."""
    vectors = unit(random.normal(size=[300, 8]))
    start = vectors[:10]
    for _ in range(4):
        peer = KMeans(10, init=start, n_init=1, max_iter=1, algorithm="lloyd")
        peer.fit(vectors)
        received, _ = spherical_k_means(vectors, 10, start=start, iterations=1)
        np.testing.assert_allclose(received, unit(peer.cluster_centers_), rtol=0, atol=1e-10)
        start = received


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_finds_the_groups(random, seed, dtype):
    vectors, group = blobs(random)
    centroids, assignments = spherical_k_means(vectors.astype(dtype), 5, seed=seed)
    assert centroids.dtype == dtype and assignments.dtype == np.int64
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), np.ones(5), rtol=1e-6)
    assert len(set(zip(group, assignments, strict=True))) == 5  # one name for each group


def test_only_the_seed_decides(random):
    vectors = random.normal(size=[200, 5]).astype("float32")
    first, again = (spherical_k_means(vectors, 20, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    other = spherical_k_means(vectors, 20, seed=4)
    assert not np.array_equal(first[0], other[0])
    np.random.seed(7)  # the global state has no part in it
    np.testing.assert_array_equal(spherical_k_means(vectors, 20, seed=3)[0], first[0])


def test_empty_clusters_move_to_the_farthest_vectors(random):
    """Three of four centroids start where no vector is nearest to them."""
    vectors, group = blobs(random, clusters=4, each=10)
    start = np.stack([vectors[group == 0].mean(axis=0)] + 3 * [-vectors.sum(axis=0)])
    centroids, assignments = spherical_k_means(vectors, 4, start=start)
    assert len(np.unique(assignments)) == 4
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), np.ones(4), rtol=1e-12)


def test_the_farthest_vector_is_taken_by_hand():
    cosines = np.array([0.9, 0.1, 0.2, 0.8, 0.3])
    assignments = np.array([0, 0, 2, 0, 0])
    k_means._fill_empty(assignments, cosines, 4)
    # 1 is farthest; 2 is next, but alone in its cluster; so 4.
    np.testing.assert_array_equal(assignments, [0, 1, 2, 0, 3])


def test_more_clusters_than_different_vectors(random):
    vectors = np.repeat(random.normal(size=[3, 4]), 5, axis=0)
    centroids, assignments = spherical_k_means(vectors, 6)
    assert np.isfinite(centroids).all()
    np.testing.assert_allclose(unit(vectors), centroids[assignments], rtol=0, atol=1e-12)


def test_as_many_clusters_as_vectors(random):
    vectors = random.normal(size=[9, 4])
    centroids, assignments = spherical_k_means(vectors, 9)
    assert sorted(assignments) == list(range(9))
    np.testing.assert_allclose(centroids[assignments], unit(vectors), rtol=0, atol=1e-12)


def test_vectors_that_cancel_out_leave_a_direction():
    centroids, _ = spherical_k_means([[1.0, 0.0], [-1.0, 0.0]], 1)
    np.testing.assert_allclose(np.abs(centroids), [[1.0, 0.0]])


def test_seeds_are_drawn_in_proportion_to_the_distance():
    """Two of three places are left, one three times as far."""
    random = np.random.default_rng(0)
    distances = np.array([0.0, 1.0, 3.0])
    draws = [k_means._draw(distances.copy(), 1, random, [np.array([0])])[0] for _ in range(2000)]
    assert np.mean(np.array(draws) == 2) == pytest.approx(0.75, abs=0.03)
    assert 0 not in draws


def test_many_vectors_and_clusters_take_seconds(random):
    """50,000 × 128 into 1,000, one iteration; the bound leaves room for a busy machine."""
    vectors = random.normal(size=[50_000, 128]).astype("float32")
    begin = time.perf_counter()
    _, assignments = spherical_k_means(vectors, 1000, iterations=1)
    assert time.perf_counter() - begin < 30
    assert len(np.unique(assignments)) > 900


@pytest.mark.parametrize(
    "vectors, k, message",
    [
        (np.ones([3, 2]), 4, "k must be from 1 to 3, the number of vectors; received 4"),
        (np.ones([3, 2]), 0, "from 1 to 3.*received 0"),
        (np.ones([3]), 1, "must have shape .N, d.; received shape .3,"),
        (np.array([[1.0, 0.0], [0.0, 0.0]]), 1, "1 others of 2, the first with index 1"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), 1, "the first with index 0"),
    ],
)
def test_what_cannot_be_clustered_is_refused(vectors, k, message):
    with pytest.raises(ValueError, match=message):
        spherical_k_means(vectors, k)


def test_a_start_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"must have shape \[2, 3\]; received shape \(3, 3\)"):
        spherical_k_means(np.eye(3), 2, start=np.eye(3))
