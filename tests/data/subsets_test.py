"""Parts of a source, and several sources as one."""

import collections

import numpy as np
import pytest
from PIL import Image

from cl_keras.data import compare, join, load, split
from cl_keras.data.subsets import Subset

ARRAY = np.arange(60, dtype=np.uint8).reshape(60, 1, 1, 1) * np.ones([1, 4, 4, 1], np.uint8)


def values(source):
    return source.images(range(len(source)))[:, 0, 0, 0].tolist()


def fill(folder, names):
    """Saves image i, filled with i, under the name i."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(path)
    return load(folder, progress=False, channels=1)


def test_a_subset_has_its_own_indices():
    part = Subset(load(ARRAY, labels=np.arange(60) % 7), [5, 3, 40])
    assert values(part) == [5, 3, 40] and part.labels.tolist() == [5, 3, 5]
    element = next(iter(part.batches(3, shuffle=False)))
    assert element["index"].numpy().tolist() == [0, 1, 2]
    assert element["image"][:, 0, 0, 0].numpy().tolist() == [5, 3, 40]
    with pytest.raises(ValueError, match="no repetitions"):
        Subset(load(ARRAY), [1, 1])
    with pytest.raises(ValueError, match="images 0 to 59"):
        Subset(load(ARRAY), [60])


def test_a_broken_file_is_replaced_by_one_of_the_subset(tmp_path):
    names = [f"{number}.png" for number in range(6)]
    fill(tmp_path, names)
    (tmp_path / "2.png").write_bytes(b"")
    source = load(tmp_path, progress=False, channels=1, max_bad_share=0.5)
    part = Subset(source, [0, 2, 4])
    element = next(iter(part.batches(3, shuffle=False)))
    assert element["index"].numpy().tolist() == [0, 2, 2]
    assert element["image"][:, 0, 0, 0].numpy().tolist() == [0, 4, 4]


def test_the_two_parts_are_the_whole_in_the_given_shares():
    many = load(np.random.default_rng(0).integers(0, 256, [4000, 4, 4], "uint8"))
    train, held = split(many, 0.25)
    assert sorted([*train.indices, *held.indices]) == list(range(4000))
    assert abs(len(held) - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75), "four standard deviations"
    other = split(many, 0.25, seed=1)[1]
    assert abs(len(set(held.indices) & set(other.indices)) - 250) < 60, "independent"


def test_a_file_stays_on_its_side_when_others_come_and_go(tmp_path):
    names = [f"c/{number:03}.png" for number in range(200)]
    before = split(fill(tmp_path / "a", names), 0.3)
    after = split(fill(tmp_path / "b", [*names[50:], *(f"new/{n}.png" for n in range(99))]), 0.3)
    for old, new in zip(before, after, strict=True):
        assert set(old.names) & set(names[50:]) == set(new.names) & set(names[50:])


def test_equal_images_of_an_array_are_on_one_side():
    twice = np.concatenate([ARRAY, ARRAY])
    for part in split(load(twice), 0.4):
        assert set(collections.Counter(values(part)).values()) == {2}


def test_groups_stay_together(tmp_path):
    source = load(ARRAY)
    groups = np.arange(60) // 3
    train, held = split(source, 0.3, groups=groups)
    assert not set(groups[train.indices]) & set(groups[held.indices])
    again = split(source, 0.3, groups=[f"patient {g}" for g in groups])
    np.testing.assert_array_equal(again[1].indices, held.indices)
    with pytest.raises(ValueError, match="must have shape .60,., one value per image"):
        split(source, 0.3, groups=groups[1:])


@pytest.mark.parametrize("share", [0, 1, -0.5, 25])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(ValueError, match="share must be above 0 and below 1"):
        split(load(ARRAY), share)
    with pytest.raises(ValueError, match="leaves one part empty"):
        split(load(ARRAY[:2]), 1e-9)


def test_joined_sources_get_consecutive_indices_and_classes_by_name(tmp_path):
    first = fill(tmp_path / "x", ["ant/0.png", "cat/1.png"])
    second = fill(tmp_path / "y", ["bee/0.png", "cat/1.png", "cat/2.png"])
    both = join([first, second])
    assert len(both) == 5 and values(both) == [0, 1, 0, 1, 2]
    assert both.class_names == ["ant", "cat", "bee"] and both.labels.tolist() == [0, 1, 2, 1, 1]
    assert sorted(i for e in both.batches(2).from_epoch(0).take(2) for i in e["index"].numpy())
    rows = [e["index"].numpy().tolist() for e in both.batches(5, shuffle=False)]
    assert rows == [[0, 1, 2, 3, 4]]
    assert len(set(both.names)) == 5
    assert not compare(both.identity(), join([first, second]).identity())
    assert not compare(both.identity(), join([second, first]).identity()).same_rows


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(ValueError, match="at least two"):
        join([load(ARRAY)])
    with pytest.raises(ValueError, match="same image_size and channels"):
        join([load(ARRAY), load(ARRAY, image_size=5)])
