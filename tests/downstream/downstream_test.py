"""Selection, duplicates, search and classifiers, against loops and artificial images."""

import io
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from cl_keras import data
from cl_keras.downstream import (
    Classifier,
    HeldOut,
    Index,
    describe,
    duplicates,
    finetune,
    select,
)
from cl_keras.downstream.classifier import neighbor_distance
from cl_keras.downstream.duplicates import Pair, groups
from cl_keras.downstream.finetuning import Whole


def _farthest_first(x, n, labeled):
    """The greedy choice, by loops."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    taken = list(labeled)
    chosen = []
    for _ in range(n):
        if not taken:
            pick = max(range(len(x)), key=lambda i: x[i] @ x.mean(axis=0))
        else:
            free = [i for i in range(len(x)) if i not in taken]
            pick = max(free, key=lambda i: min(1 - x[i] @ x[j] for j in taken))
        taken.append(pick)
        chosen.append(pick)
    return chosen


@pytest.mark.parametrize("labeled", [[], [3, 8]])
def test_select_equals_farthest_first_by_loops(labeled):
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    found = select(x, 10, labeled=labeled or None)
    assert found.tolist() == _farthest_first(x.astype(float), 10, labeled)


def test_select_covers_every_cluster_before_any_twice():
    centers = np.repeat(np.eye(5), 20, axis=0)
    x = centers + 0.01 * np.random.default_rng(0).normal(size=centers.shape)
    assert sorted(select(x, 5) // 20) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="at most 97, the unlabeled images; received 98"):
        select(x, 98, labeled=[0, 1, 2])


def _photos(count, size=48, seed=0):
    """Different smooth pictures."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 6, 6, 3), np.uint8)
    resized = [Image.fromarray(c).resize((size, size), Image.Resampling.BICUBIC) for c in coarse]
    return np.stack([np.asarray(picture) for picture in resized])


def _compressed(image):
    buffer = io.BytesIO()
    Image.fromarray(image).resize((40, 40)).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer).resize((48, 48)))


def test_copies_are_found_and_other_images_are_not():
    photos = _photos(30)
    copies = np.stack([photos[3], _compressed(photos[7]), (photos[9] * 0.8).astype(np.uint8)])
    others = _photos(20, seed=1)
    pairs = duplicates(photos, np.concatenate([others, copies]))
    assert {(pair.first, pair.second) for pair in pairs} == {(3, 20), (7, 21), (9, 22)}
    assert pairs[0].correlation == pytest.approx(1, abs=1e-5)
    within = duplicates(np.concatenate([photos, copies]))
    assert {(pair.first, pair.second) for pair in within} == {(3, 30), (7, 31), (9, 32)}


def test_images_without_contrast_are_no_duplicates():
    flat = np.full((4, 16, 16, 1), 200, np.uint8)
    assert not describe(flat).any()
    assert duplicates(flat) == []


def test_products_of_descriptions_are_correlations():
    photos = _photos(2)
    found = describe(photos)
    gray = [np.asarray(Image.fromarray(p).convert("L").resize((32, 32), 4), float) for p in photos]
    expected = np.corrcoef(gray[0].ravel(), gray[1].ravel())[0, 1]
    assert found[0] @ found[1] == pytest.approx(expected, abs=1e-5)


def test_duplicates_of_duplicates_are_one_group():
    pairs = [Pair(1, 4, 1.0), Pair(4, 6, 1.0), Pair(2, 3, 1.0)]
    assert groups(pairs, 7).tolist() == [0, 1, 2, 2, 1, 5, 1]


def _encoder():
    """Encodes an image as its mean color, three features."""
    inputs = keras.Input([16, 16, 3])
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    return keras.Model(inputs, pooled)


def _colors(count, seed=0):
    """Images of three classes, red, green and blue, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 60, (count, 16, 16, 3))
    images[np.arange(count), :, :, labels] += 150
    return images.astype(np.uint8), labels


def _source(count, seed=0, labels=True):
    images, classes = _colors(count, seed)
    names = ["red", "green", "blue"]
    return data.load(
        images, labels=classes if labels else None, class_names=labels and names or None
    )


def test_a_classifier_from_few_labels_is_saved_and_predicts(tmp_path):
    classifier = finetune(_encoder(), _source(60), progress=False)
    assert classifier.held_out.accuracy == 1 and classifier.class_names == ["red", "green", "blue"]
    again = Classifier.load(classifier.save(tmp_path / "c"))
    images, labels = _colors(30, seed=5)
    found = again.predict(data.load(images), progress=False)
    np.testing.assert_array_equal(found.classes, labels)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert again.image_options == {"image_size": 16, "channels": 3}
    assert again.held_out == classifier.held_out and again.held_out.images == 12


def test_near_duplicates_are_held_out_together():
    """Classes that mean nothing are learned by heart from copies, and not without them."""
    photos = np.repeat(_photos(40, size=24), 3, axis=0)
    labels = np.repeat(np.random.default_rng(0).permutation(40) % 2, 3)
    inputs = keras.Input([*photos.shape[1:]])
    encoder = keras.Model(inputs, keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    result = finetune(encoder, data.load(photos, labels=labels), progress=False).held_out
    assert result.images == 24
    low, high = result.interval
    assert low < 0.5 < high and result.accuracy < 0.8


def test_held_out_accuracy_is_a_mean_over_classes():
    labels = np.repeat([0, 1], [90, 10])
    result = HeldOut.of(labels == 0, labels)
    assert result.images == 100 and result.accuracy == 0.5
    assert result.interval[0] < 0.5 < result.interval[1]


def test_images_unlike_any_labeled_one_are_unusual():
    classifier = finetune(_encoder(), _source(240), progress=False)
    yellow = _colors(20, seed=7)[0]
    yellow[..., 2], yellow[..., :2] = 0, 200
    assert classifier.predict(data.load(yellow), progress=False).unusual.all()
    usual = classifier.predict(_source(90, seed=8, labels=False), progress=False).unusual
    assert usual.mean() < 0.25  # a twentieth of the held-out images


def test_neighbor_distance_equals_a_loop():
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(20, 4)), rng.normal(size=(5, 4))
    cosine = queries @ bank.T
    cosine /= np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(bank, axis=1)
    expected = 1 - np.sort(cosine, axis=1)[:, -3:].mean(axis=1)
    np.testing.assert_allclose(neighbor_distance(bank, queries), expected, atol=1e-5)
    within = neighbor_distance(bank, bank, skip=1)
    assert within.min() > 0.001  # not the image itself


def test_all_weights_are_trained_and_stop_early():
    keras.utils.set_random_seed(0)
    encoder = _encoder()
    inputs = encoder.inputs[0]
    deeper = keras.Model(inputs, keras.layers.Dense(8, "relu")(encoder(inputs)))
    before = deeper.layers[-1].get_weights()[0].copy()
    whole = Whole(epochs=20, patience=2, learning_rate=1e-2)
    classifier = finetune(deeper, _source(60), whole=whole, progress=False)
    assert (deeper.layers[-1].get_weights()[0] != before).any()
    assert classifier.held_out.accuracy > 0.9
    images, labels = _colors(30, seed=5)
    found = classifier.predict(data.load(images), progress=False)
    assert (found.classes == labels).mean() > 0.9


def test_images_without_labels_are_explained():
    with pytest.raises(ValueError, match="Fine-tuning needs labels; the 9 images have none"):
        finetune(_encoder(), _source(9, labels=False), progress=False)
    with pytest.raises(FileNotFoundError, match="holds no classifier"):
        Classifier.load("nowhere")


def test_unlabeled_images_are_left_out():
    images, labels = _colors(60)
    labels = np.where(np.arange(60) < 30, labels, -1)
    classifier = finetune(_encoder(), data.load(images, labels=labels), progress=False)
    assert len(classifier.bank) == 30


def test_an_index_finds_the_nearest_and_comes_back_from_its_file(tmp_path):
    index = Index.build(_encoder(), data.load(_colors(12)[0]), key="k", progress=False)
    index.save(tmp_path / "index.npz")
    again = Index.load(tmp_path / "index.npz")
    assert again.key == "k" and again.names == [str(i) for i in range(12)]
    [found] = again.search(index.embeddings[5:6], k=4)
    assert found[0][0] == "5" and found[0][1] == pytest.approx(1)
    assert {int(name) % 3 for name, _ in found} == {5 % 3}


def test_a_file_that_is_not_an_index_is_named(tmp_path):
    (tmp_path / "index.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="is not an index"):
        Index.load(tmp_path / "index.npz")


def test_faiss_finds_the_same_images():
    pytest.importorskip("faiss")
    vectors = np.random.default_rng(0).standard_normal([300, 24]).astype("float32")
    index = Index(vectors, [str(row) for row in range(300)])
    queries = np.random.default_rng(1).standard_normal([7, 24]).astype("float32")
    for one, other in zip(
        index.search(queries, 9), index.search(queries, 9, engine="faiss"), strict=True
    ):
        assert [name for name, _ in one] == [name for name, _ in other]
        np.testing.assert_allclose([c for _, c in one], [c for _, c in other], atol=1e-6)


def test_a_missing_engine_is_named(monkeypatch):
    index = Index(np.eye(3, dtype="float32"), ["a", "b", "c"])
    with pytest.raises(ValueError, match="engine must be one of blocks, faiss; received 'annoy'"):
        index.search(np.ones([1, 3]), engine="annoy")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r'needs the package faiss-cpu: pip install "cl-keras'):
        index.search(np.ones([1, 3]), engine="faiss")
