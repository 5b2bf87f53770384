import numpy as np
import pytest

from cl_keras.evaluation import cross_retrieval


def test_recall_is_counted_by_hand(random):
    queries, keys = random.normal(size=[20, 3]), random.normal(size=[20, 3])
    cosines = queries @ keys.T / np.linalg.norm(queries, axis=1)[:, None]
    cosines /= np.linalg.norm(keys, axis=1)
    ranks = [(cosines[i] > cosines[i, i]).sum() for i in range(20)]
    received = cross_retrieval(queries, keys, ks=(1, 4))
    expected = {f"recall_at_{k}": np.mean(np.array(ranks) < k) for k in (1, 4)}
    assert received == pytest.approx(expected)


def test_identical_partners_are_all_found(random):
    rows = random.normal(size=[7, 3])
    assert cross_retrieval(rows, 2 * rows) == {"recall_at_1": 1.0, "recall_at_5": 1.0}


def test_sides_of_different_length_are_refused(random):
    with pytest.raises(ValueError, match="received 3 queries and 4 keys"):
        cross_retrieval(random.normal(size=[3, 2]), random.normal(size=[4, 2]))
