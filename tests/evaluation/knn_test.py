"""Nearest neighbors and the k-NN vote, against loops and scikit-learn."""

import json
import sys

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from cl_keras.evaluation import Features, knn, neighbors
from cl_keras.evaluation.knn_kernel import select


def _clusters(rows, seed, classes=7, width=12, noise=1.5):
    """Overlapping clusters of points around class centers: [rows, width] and labels [rows]."""
    centers = np.random.default_rng(99).normal(size=(classes, width))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    points = centers[labels] + noise * rng.normal(size=(rows, width))
    return points.astype(np.float32), labels


def _loop_neighbors(bank, queries, k):
    """Plain loops in float64; equal cosines keep the order of the bank."""
    indices, cosines = [], []
    for q in queries.astype(np.float64):
        scores = []
        for b in bank.astype(np.float64):
            length = np.linalg.norm(q) * np.linalg.norm(b)
            scores.append(q @ b / length if length else 0.0)
        order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
        indices.append(order)
        cosines.append([scores[i] for i in order])
    return np.array(indices), np.array(cosines)


def _loop_votes(train_labels, indices, cosines, temperature):
    """The votes of each query, {class: weight}."""
    votes = []
    for near, scores in zip(indices, cosines, strict=True):
        vote = {}
        for i, s in zip(near, scores, strict=True):
            vote[train_labels[i]] = vote.get(train_labels[i], 0.0) + np.exp(s / temperature)
        votes.append(vote)
    return votes


@pytest.fixture(params=["in a graph", "by compiled loops"])
def way(request, monkeypatch):
    """Few scores are searched in a graph, many by compiled loops."""
    module = sys.modules["cl_keras.evaluation.knn"]  # the name stands for the function
    monkeypatch.setattr(module, "_FEW", 0 if request.param == "by compiled loops" else 2**40)


@pytest.mark.parametrize("k", [1, 3, 50, 211])  # 3 looks at groups first, 50 and 211 do not
def test_neighbors_equal_a_loop(k, way):
    bank, _ = _clusters(211, seed=0)
    queries, _ = _clusters(17, seed=1)
    indices, cosines = neighbors(bank, queries, k)
    expected_indices, expected_cosines = _loop_neighbors(bank, queries, k)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(cosines, expected_cosines, atol=1e-6)


def test_neighbors_equal_scikit_learn(way):
    bank, _ = _clusters(3000, seed=0)
    queries, _ = _clusters(200, seed=1)
    indices, cosines = neighbors(bank, queries, 20)
    model = NearestNeighbors(n_neighbors=20, metric="cosine").fit(bank)
    distances, expected = model.kneighbors(queries)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(1 - cosines, distances, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 7, 17, 1000])
def test_chunks_do_not_change_the_answer(chunk, way):
    bank, _ = _clusters(400, seed=0)
    queries, _ = _clusters(17, seed=1)
    indices, cosines = neighbors(bank, queries, 5, chunk=chunk)
    whole_indices, whole_cosines = neighbors(bank, queries, 5)
    np.testing.assert_array_equal(indices, whole_indices)
    np.testing.assert_allclose(cosines, whole_cosines, atol=1e-6)


@pytest.mark.parametrize("k", [4, 40])
def test_equal_cosines_come_in_the_order_of_the_bank(k, way):
    bank = np.tile(np.eye(4, dtype=np.float32), (100, 1))  # row i points along axis i % 4
    indices, cosines = neighbors(bank, np.eye(4, dtype=np.float32)[[2, 0]], k)
    np.testing.assert_array_equal(indices, [2 + 4 * np.arange(k), 4 * np.arange(k)])
    np.testing.assert_array_equal(cosines, 1)


def test_zero_vectors_are_at_cosine_zero_from_all(way):
    bank = np.float32([[0, 0], [1, 0], [-1, 0]])
    indices, cosines = neighbors(bank, np.float32([[1, 0], [0, 0]]), 3)
    np.testing.assert_array_equal(indices, [[1, 0, 2], [0, 1, 2]])
    np.testing.assert_array_equal(cosines, [[1, 0, -1], [0, 0, 0]])


@pytest.mark.parametrize("shape", [(3, 1000), (5, 999), (4, 58)])
@pytest.mark.parametrize("k", [1, 2, 20, 58])
@pytest.mark.parametrize("levels", [0, 1, 7, 10**6])
def test_compiled_loops_equal_a_stable_sort(shape, k, levels):
    random = np.random.default_rng(shape[1] + k)
    scores = random.normal(size=shape).astype(np.float32)
    if levels < 10**6:  # so that there are many ties; with 0, all scores are equal
        scores = np.round(scores * levels) * np.float32(0.1)
    indices, cosines = np.empty([len(scores), k], np.int64), np.empty([len(scores), k], np.float32)
    select(scores, k, indices, cosines)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(cosines, np.take_along_axis(scores, expected, axis=1))


def test_length_does_not_matter(way):
    bank, _ = _clusters(100, seed=0)
    queries, _ = _clusters(9, seed=1)
    indices, _ = neighbors(bank, queries, 5)
    lengths = np.float32(10.0) ** np.linspace(-25, 25, 100, dtype=np.float32)[:, None]
    stretched, _ = neighbors(bank * lengths, queries * np.float32(1e25), 5)
    np.testing.assert_array_equal(stretched, indices)


def test_knn_equals_a_loop():
    train, train_labels = _clusters(300, seed=0)
    test, test_labels = _clusters(80, seed=1)
    score = knn(Features(train, train_labels), Features(test, test_labels), k=20, temperature=0.1)
    votes = _loop_votes(train_labels, *_loop_neighbors(train, test, 20), 0.1)
    ranked = [sorted(v, key=lambda c: (-v[c], c)) for v in votes]
    pairs = list(zip(ranked, test_labels, strict=True))
    assert score["top1"] == np.mean([r[0] == y for r, y in pairs])
    assert score["top5"] == np.mean([y in r[:5] for r, y in pairs])
    recalls = [np.mean([r[0] == y for r, y in pairs if y == c]) for c in range(7)]
    assert score["balanced"] == pytest.approx(np.mean(recalls))
    assert 0.3 < score["top1"] < score["top5"] < 1  # neither chance nor trivial


def test_knn_equals_scikit_learn():
    train, train_labels = _clusters(2000, seed=0)
    test, test_labels = _clusters(300, seed=1)
    score = knn(Features(train, train_labels), Features(test, test_labels), k=200)
    model = KNeighborsClassifier(
        n_neighbors=200, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07)
    ).fit(train, train_labels)
    assert score["top1"] == model.score(test, test_labels)


def test_weights_not_only_counts_decide():
    train = Features(np.float32([[1, 0], [0.6, 0.8], [0.6, -0.8]]), [0, 1, 1])  # cosines 1, .6, .6
    zero, one = (Features(np.float32([[1, 0]]), [label]) for label in (0, 1))
    # e^{1/τ} against 2·e^{.6/τ}: the balance is at τ = .4 / log 2 ≈ .577
    assert knn(train, zero, k=3, temperature=0.55)["top1"] == 1
    assert knn(train, one, k=3, temperature=0.60)["top1"] == 1


def test_a_tiny_temperature_stays_finite():
    train = Features(*_clusters(100, seed=0))
    nearest = knn(train, train, k=10, temperature=1e-4)
    assert nearest["top1"] == 1  # only the nearest row counts: each row itself


def test_a_class_without_votes_is_never_hit():
    train = np.float32([[1, 0], [1, 0.1], [-1, 0]])
    # Class 0 is in the bank, but not among the two nearest.
    score = knn(Features(train, [3, 3, 0]), Features(train[:1], [0]), k=2)
    assert (score["top1"], score["top5"]) == (0, 0)


def test_k_is_clipped_to_the_bank_and_the_protocol_says_so():
    train = Features(*_clusters(30, seed=0))
    score = knn(train, train)
    assert score["protocol"]["k"] == 30
    assert "200" in score["protocol"]["note"]
    assert "note" not in knn(train, train, k=30)["protocol"]
    assert json.loads(json.dumps(score)) == score


def test_classes_are_matched_by_name():
    train = Features(np.eye(3), [0, 1, 2], class_names=("ant", "bee", "cat"))
    test = Features(np.eye(3)[[0, 2]], [0, 1], class_names=("ant", "cat"))  # no bees here
    assert knn(train, test, k=1)["top1"] == 1


def test_test_classes_that_training_lacks_are_named():
    train = Features(np.eye(2), [0, 1], class_names=("ant", "bee"))
    test = Features(np.eye(2), [0, 1], class_names=("ant", "cow"))
    with pytest.raises(ValueError, match="1 classes that no training image has: cow"):
        knn(train, test)


def test_rows_without_a_label_are_left_out():
    train = Features(np.eye(3), [0, 1, -1])
    assert knn(train, train, k=1)["protocol"]["test_rows"] == 2


def test_no_label_at_all_is_named():
    vectors = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="train must have labels; each of its 3 is -1"):
        knn(Features(vectors, np.full(3, -1)), Features(vectors, np.arange(3)))


def test_labels_may_be_a_column():
    train = Features(np.eye(3), [[0], [1], [2]])
    assert knn(train, train, k=1)["top1"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be an integer of at least 1; received 0"),
        ({"k": 2.5}, "received 2.5"),
        ({"temperature": 0}, "temperature must be a number above 0; received 0"),
        (
            {"train_labels": [0, 1]},
            r"train labels must have one entry per image: received 2 labels for 4",
        ),
        ({"train_labels": None}, "one label per row; received None"),
        ({"train_labels": [0, 1, 2, -2]}, "from 0 on.*received -2"),
        (
            {"train_labels": [0.0, 1.0, 2.0, 3.0]},
            "train labels must be integers.*received float64",
        ),
        ({"test": np.ones((2, 5))}, "test must have 3 columns.*received 5"),
        ({"test": np.full((2, 3), np.nan)}, "2 of 2 rows with NaN"),
        ({"test": np.ones((0, 3))}, r"received shape \(0, 3\)"),
    ],
)
def test_wrong_input_is_explained(change, message):
    given = {"train": np.eye(4, 3), "train_labels": [0, 1, 2, 3], "test": np.ones((2, 3))} | change
    train = Features(given.pop("train"), given.pop("train_labels"))
    with pytest.raises(ValueError, match=message):
        knn(train, Features(given.pop("test"), [0, 1]), **given)


def test_arrays_are_refused_with_a_hint_to_features():
    with pytest.raises(TypeError, match=r"train must be Features.*evaluation.Features\(vectors"):
        knn(np.eye(3), np.eye(3))


def test_k_above_the_bank_is_an_error_for_neighbors():
    with pytest.raises(ValueError, match="size of the bank, 3; received 4"):
        neighbors(np.eye(3), np.eye(3), 4)
