"""Two folders in which files with the same name belong together."""

import numpy as np
import pytest
from PIL import Image

from cl_keras.data import Pairs, load


def fill(folder, levels):
    """Gray images of 4 × 4 by their names."""
    for name, level in levels.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), level).save(path)


@pytest.fixture
def folder(tmp_path):
    # 100 + i on the one side belongs to 200 + i on the other; c and d have no partner.
    fill(tmp_path / "a", {"x/a.png": 101, "x/b.png": 102, "x/c.png": 103, "y/e.png": 105})
    fill(tmp_path / "b", {"y/e.bmp": 205, "x/b.png": 202, "x/a.png": 201, "x/d.png": 204})
    return tmp_path


def level(images):
    return np.asarray(images)[:, 0, 0, 0].astype(int)


def test_each_image_comes_with_its_partner_in_every_order(folder):
    source = load(f"pairs:{folder}", channels=1, progress=False)
    assert isinstance(source, Pairs) and len(source) == 3
    assert level(source.images([0, 1, 2])).tolist() == [101, 102, 105]
    assert source.class_names == ["x", "y"] and source.labels.tolist() == [0, 0, 1]
    assert not source.batches(2).can_cut
    batches = source.batches(2, seed=1, drop_remainder=False)
    seen = []
    for element in batches.from_epoch(0).take(2 * batches.steps_per_epoch):
        assert element["other"].shape[1:] == (4, 4, 1) and element["other"].dtype == np.uint8
        np.testing.assert_array_equal(level(element["other"]), level(element["image"]) + 100)
        np.testing.assert_array_equal(element["label"], level(element["image"]) == 105)
        seen += level(element["image"]).tolist()
    assert sorted(seen) == sorted([101, 102, 105] * 2)


def test_a_replacement_comes_with_its_own_partner(folder):
    (folder / "a" / "x" / "b.png").write_bytes(b"")
    source = load(f"pairs:{folder}", channels=1, image_size=4, max_bad_share=0.5, progress=False)
    element = next(iter(source.batches(3, shuffle=False)))
    assert level(element["image"]).tolist() == [101, 105, 105]
    assert level(element["other"]).tolist() == [201, 205, 205]


def test_a_partner_that_cannot_be_read_is_an_error(folder):
    (folder / "b" / "x" / "b.png").write_bytes(b"")
    source = load(f"pairs:{folder}", channels=1, image_size=4, max_bad_share=0.5, progress=False)
    assert [name for name, _ in source.skipped] == ["x/b.png"]
    with pytest.raises(Exception, match="the partner of x/b.png in .* cannot be read"):
        next(iter(source.batches(3, shuffle=False)))


def test_the_identity_knows_both_sides(folder):
    def identity():
        return load(f"pairs:{folder}", channels=1, progress=False).identity()

    before = identity()
    assert len(before.images) == 6 and before.digest() == identity().digest()
    fill(folder / "b", {"x/a.png": 7})
    assert identity().digest() != before.digest()


def test_folders_without_pairs_are_refused(folder):
    with pytest.raises(ValueError, match="must have two folders.*received 3: a, b, c"):
        fill(folder / "c", {"a.png": 1})
        load(f"pairs:{folder}")
    with pytest.raises(ValueError, match="have no file name in common; their first are a and x/"):
        Pairs(load(folder / "c"), load(folder / "b"))
    fill(folder / "c", {"a.bmp": 1})
    with pytest.raises(ValueError, match="has two files that only differ in their extensions"):
        Pairs(load(folder / "c"), load(folder / "b"))
    with pytest.raises(ValueError, match="same image_size and channels"):
        Pairs(load(folder / "a", image_size=3), load(folder / "b"))
    with pytest.raises(ValueError, match="has no file names"):
        Pairs(load(np.zeros([3, 4, 4, 3], np.uint8)), load(folder / "b"))
