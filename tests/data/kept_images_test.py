"""Images that are kept in memory: which, for how long, and up to which limit."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cl_keras.data import kept_images
from cl_keras.data.kept_images import KeptImages, fits_in_memory

SHAPE = (6, 4, 5, 3)


def image_of(index):
    return np.full(SHAPE[1:], index, np.uint8)


def test_only_what_was_added_is_found():
    kept = KeptImages(SHAPE)
    assert kept.get(2) is None and kept.take(np.array([2])) is None
    kept.add(2, image_of(2))
    kept.add(5, image_of(5))
    np.testing.assert_array_equal(kept.get(2), image_of(2))
    assert kept.take(np.array([2, 3])) is None, "one is missing"
    np.testing.assert_array_equal(
        kept.take(np.array([5, 2, 5])), [image_of(5), image_of(2), image_of(5)]
    )
    kept.remove(5)
    assert kept.get(5) is None and kept.take(np.array([5])) is None


def test_what_is_taken_is_a_copy():
    kept = KeptImages(SHAPE)
    kept.add(1, image_of(1))
    kept.take(np.array([1]))[:] = 99
    np.testing.assert_array_equal(kept.get(1), image_of(1))


def test_threads_find_whole_images_or_none():
    kept = KeptImages((64, 64, 64, 3))

    def work(seed):
        for index in np.random.default_rng(seed).permutation(64).tolist():
            found = kept.get(index)
            if found is not None and (found != index).any():
                return "half an image"
            kept.add(index, np.full((64, 64, 3), index, np.uint8))
        return None

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(work, range(8))) == {None}
    np.testing.assert_array_equal(kept.take(np.arange(64))[:, 5, 6, 2], np.arange(64))


def test_a_pickle_has_no_images():
    kept = KeptImages((1000, 32, 32, 3))
    kept.add(1, np.zeros((32, 32, 3), np.uint8))
    data = pickle.dumps(kept)
    assert len(data) < 200 and pickle.loads(data).get(1) is None


@pytest.mark.parametrize(("memory", "limit"), [(8 * 600, 600), (8 * 5000, 1000), (None, 1000)])
def test_the_limit_is_a_number_of_bytes_and_a_share_of_the_memory(monkeypatch, memory, limit):
    monkeypatch.setattr(kept_images, "MAX_BYTES", 1000)
    monkeypatch.setattr(kept_images.bounds, "memory_of_machine", lambda: memory)
    assert fits_in_memory(limit) and not fits_in_memory(limit + 1)
    kept = KeptImages((limit + 1, 1, 1, 1))
    kept.add(0, np.zeros((1, 1, 1), np.uint8))
    kept.remove(3)
    assert kept.get(0) is None and kept.take(np.array([0])) is None
