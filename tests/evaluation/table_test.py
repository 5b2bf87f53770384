"""Baselines, perturbations, and the table that compares encoders."""

import json
import operator

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cl_keras.evaluation import (
    MAJORITY,
    features,
    few_labels,
    knn,
    linear_probe,
    pca_whitened,
    perturb,
    raw_pixels,
    retrieval_top1,
    table,
)
from cl_keras.evaluation.baselines import _Sample
from cl_keras.evaluation.perturbed import Perturbed


def _images(rows, size=8, channels=1, seed=0):
    """Smooth random pictures, so that crops resemble the whole."""
    coarse = np.random.default_rng(seed).integers(0, 256, (rows, 2, 2, channels))
    return np.kron(coarse, np.ones((1, size // 2, size // 2, 1))).astype(np.uint8)


def _batches(images, labels=None, size=4):
    """The batches of a labeled source, as a list."""
    parts = []
    for i in range(0, len(images), size):
        rows = np.arange(i, min(i + size, len(images)))
        parts.append({"image": images[rows], "index": rows})
        if labels is not None:
            parts[-1]["label"] = np.asarray(labels)[rows]
    return parts


def test_raw_pixels_are_flattened_pixels():
    images = _images(3, channels=3)
    np.testing.assert_allclose(raw_pixels(images), images.reshape(3, -1) / 255, atol=1e-7)


def test_raw_pixels_of_large_images_are_area_means():
    image = np.random.default_rng(0).integers(0, 256, (1, 128, 128, 1), np.uint8)
    means = image.reshape(1, 64, 2, 64, 2, 1).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(raw_pixels(image), means.reshape(1, -1), atol=1e-6)


def test_whitened_pca_equals_scikit_learn():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 5, 5, 1), np.uint8)
    images[:, :, 1:] = images[:, :, 1:] // 4 + images[:, :, :1] // 2  # correlated columns
    encode = pca_whitened(_batches(images, size=64), dims=10, progress=False)
    ours = encode(images)
    theirs = PCA(10, whiten=True, svd_solver="full").fit_transform(images.reshape(200, -1) / 255)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=2e-3)  # a sign is free
    np.testing.assert_allclose(np.cov(ours.T), np.eye(10), atol=1e-3)


def test_pca_of_many_pixels_equals_scikit_learn():
    images = np.random.default_rng(0).integers(0, 256, (40, 40, 40, 3), np.uint8)  # 4,800 pixels
    ours = pca_whitened(images, dims=10, progress=False)(images)
    theirs = PCA(10, whiten=True, svd_solver="full").fit_transform(images.reshape(40, -1) / 255)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=2e-3)


def test_a_sample_takes_every_row_with_the_same_chance():
    counts = np.zeros(20)
    for seed in range(2000):
        sample = _Sample(5)
        sample._generator = np.random.default_rng(seed)
        sample.add(range(20))
        counts[sample.rows] += 1
    assert counts.sum() == 2000 * 5
    assert np.abs(counts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


def test_pca_keeps_no_direction_without_variance():
    images = np.repeat(_images(50), 2, axis=0)  # four free cells of 8×8 pixels
    assert pca_whitened(images, dims=30, progress=False)(images).shape == (100, 4)


def test_wrong_pca_input_is_explained():
    with pytest.raises(ValueError, match="at least 2 images; received 1"):
        pca_whitened(_images(1), progress=False)
    with pytest.raises(ValueError, match="images that differ"):
        pca_whitened(np.zeros((9, 8, 8, 1), np.uint8), progress=False)
    with pytest.raises(ValueError, match="with 64 values.*received 16"):
        pca_whitened(_images(9), progress=False)(_images(9, size=4))


def test_perturbation_is_a_pure_function_of_seed_and_row():
    images = _images(10)
    whole = perturb(images, seed=3)
    assert (whole.dtype, whole.shape) == (np.uint8, images.shape)
    np.testing.assert_array_equal(perturb(images, seed=3, chunk=4), whole)
    np.testing.assert_array_equal(perturb(images[6:], seed=3, first_row=6), whole[6:])
    assert (perturb(images, seed=4) != whole).any(axis=(1, 2, 3)).mean() > 0.5


def test_perturbing_a_uniform_picture_changes_its_brightness():
    gray = np.full((400, 8, 8, 1), 120, np.uint8)
    levels = perturb(gray)
    np.testing.assert_array_equal(levels, np.broadcast_to(levels[:, :1, :1], levels.shape))
    factors = levels[:, 0, 0, 0] / 120
    assert 0.69 < factors.min() < 0.73 and 1.27 < factors.max() < 1.31  # ±30 %, evenly
    assert abs(factors.mean() - 1) < 0.03


def test_perturbation_flips_about_half():
    ramp = np.broadcast_to(np.linspace(40, 200, 16), (400, 16, 16))[..., None].astype(np.uint8)
    rising = np.diff(perturb(ramp)[:, 8, :, 0].astype(int), axis=1).sum(axis=1) > 0
    assert 0.42 < rising.mean() < 0.58


def test_perturb_needs_square_uint8_images():
    with pytest.raises(ValueError, match=r"square images.*float32 \(2, 8, 8, 1\)"):
        perturb(_images(2).astype(np.float32))
    with pytest.raises(ValueError, match=r"received uint8 \(2, 4, 8, 1\)"):
        perturb(_images(2)[:, :4])


def test_perturbed_batches_stream_what_perturb_gives():
    images = _images(10)
    stream = Perturbed(_batches(images, range(10)), seed=3)
    for _ in range(2):  # again at every pass
        parts = list(stream)
        found = np.concatenate([p["image"] for p in parts])
        np.testing.assert_array_equal(found, perturb(images, seed=3))
        np.testing.assert_array_equal(np.concatenate([p["label"] for p in parts]), range(10))
    assert operator.length_hint(stream) == 3


def test_retrieval_top1_counts_rows_nearest_to_their_own():
    originals = np.eye(4)
    perturbed = np.float32([[5, 1, 0, 0], [0, 2, 1, 0], [1, 0, 0, 0], [0, 0, 1, 9]])
    found = retrieval_top1(originals, perturbed)
    assert found["top1"] == 0.75
    assert found["protocol"]["chance"] == 0.25


def test_retrieval_top1_of_a_collapsed_encoder_is_chance():
    assert retrieval_top1(np.ones((50, 3)), np.ones((50, 3)))["top1"] == 1 / 50


def test_retrieval_top1_needs_pairs():
    with pytest.raises(ValueError, match="received 2 perturbed rows for 3"):
        retrieval_top1(np.eye(3), np.eye(3)[:2])


def test_a_table_equals_its_parts():
    train, test = _images(60, seed=1), _images(20, seed=2)
    train_labels, test_labels = np.arange(60) % 3, np.arange(20) % 3
    encoders = {"raw": raw_pixels, "PCA": pca_whitened(train, dims=3, progress=False)}
    made = table(
        encoders,
        _batches(train, train_labels),
        _batches(test, test_labels),
        k=5,
        also_k=9,
        gallery=15,
        curve=True,
        seed=6,
        progress=False,
    )
    bank, clean, moved = (
        features(encoders["PCA"], _batches(x, y), progress=False)
        for x, y in (
            (train, train_labels),
            (test, test_labels),
            (perturb(test, seed=6), test_labels),
        )
    )
    rows = np.sort(np.random.default_rng(6).permutation(20)[:15])
    assert list(made) == [MAJORITY, "raw", "PCA"]
    found = {metric.name: metric for metric in made["PCA"]}
    assert {name: metric.value for name, metric in found.items()} == pytest.approx(
        {
            "knn": knn(bank, clean, k=5)["top1"],
            "perturbed_knn": knn(bank, moved, k=5)["top1"],
            "retrieval_top1": retrieval_top1(clean.vectors[rows], moved.vectors[rows])["top1"],
            "knn_9": knn(bank, clean, k=9)["top1"],
            "perturbed_knn_9": knn(bank, moved, k=9)["top1"],
            "linear": linear_probe(bank, clean)["top1"],
            "linear_10_percent": few_labels(bank, clean, share=0.1, seed=6)["top1"],
            "linear_1_percent": few_labels(bank, clean, share=0.01, seed=6)["top1"],
            "linear_10_labels": few_labels(bank, clean, total=10, seed=6)["top1"],
            "linear_20_labels": few_labels(bank, clean, total=20, seed=6)["top1"],
        }
    )
    assert found["knn"].balanced == pytest.approx(knn(bank, clean, k=5)["balanced"])
    assert "k 5" in found["knn"].protocol and "k 9" in found["knn_9"].protocol
    assert (
        "60 training images, on 20 test images, each perturbed" in found["perturbed_knn"].protocol
    )
    plain = [metric.as_json() for metric in made["PCA"]]
    assert json.loads(json.dumps(plain))[0]["value"] == found["knn"].value
    majority = {metric.name: metric.value for metric in made[MAJORITY]}
    assert majority["knn"] == majority["linear_1_percent"] == np.mean(test_labels == 0)


def test_table_without_labels_only_retrieves():
    images = _images(20)
    made = table({"raw": raw_pixels}, images, _batches(images, np.zeros(20, int)), progress=False)
    assert [metric.name for metric in made["raw"]] == ["retrieval_top1"]


def test_a_table_needs_an_encoder():
    with pytest.raises(ValueError, match="at least one encoder"):
        table({}, _images(4), _images(4))


def test_a_stand_in_is_perturbed_once():
    """Images 0 and 2 come twice, as replacements of broken files, in one batch and in another."""
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), np.uint8)
    index = np.array([0, 1, 0, 2, 3, 2])
    stream = [{"image": images[i : i + 3], "index": index[i : i + 3]} for i in (0, 3)]
    found = list(Perturbed(stream))
    assert [element["index"].tolist() for element in found] == [[0, 1], [2, 3]]
    whole = perturb(images)
    np.testing.assert_array_equal(found[0]["image"], whole[:2])
    np.testing.assert_array_equal(found[1]["image"], whole[3:5])
