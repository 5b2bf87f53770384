"""Identities of images: what has changed since."""

import numpy as np
import pytest

from cl_keras.data import Identity, compare, load
from cl_keras.data.identity import Image, hash_image


def files(*rows):
    return Identity({"kind": "folder"}, tuple(Image(*row) for row in rows))


BEFORE = files(("a", "1"), ("b", "2"), ("c", "3", False))


def test_an_identity_equals_itself():
    changes = compare(BEFORE, BEFORE)
    assert not changes and changes.same_rows and str(changes) == "no changes"


@pytest.mark.parametrize(
    "now, kind, names",
    [
        (files(("a", "1"), ("c", "3", False)), "vanished", ("b",)),
        (files(("a", "1"), ("a2", "9"), ("b", "2"), ("c", "3", False)), "added", ("a2",)),
        (files(("a", "1"), ("b", "7"), ("c", "3", False)), "changed", ("b",)),
        (files(("b", "2"), ("a", "1"), ("c", "3", False)), "moved", ("a", "b")),
    ],
)
def test_each_kind_of_change_is_named(now, kind, names):
    changes = compare(BEFORE, now)
    assert getattr(changes, kind) == names and not changes.same_rows
    assert str(changes) == f"{len(names)} {kind} ({', '.join(names)})"


def test_a_file_that_breaks_or_is_repaired_keeps_its_row():
    now = files(("a", "0", False), ("b", "2"), ("c", "5"))
    changes = compare(BEFORE, now)
    assert changes and changes.same_rows
    assert (changes.spoiled, changes.mended, changes.changed) == (("a",), ("c",), ())


def test_a_replaced_file_is_noticed_even_if_the_count_is_the_same():
    changes = compare(BEFORE, files(("a", "1"), ("c", "3", False), ("d", "4")))
    assert (changes.vanished, changes.added) == (("b",), ("d",))


def test_other_facts_are_named():
    facts = {"kind": "tfds", "name": "digits:1.0.0", "split": "train"}
    changes = compare(Identity(facts), Identity(facts | {"split": "test"}))
    assert changes.facts == ("split",) and not changes.same_rows


def test_arrays_are_compared_by_their_pixels():
    images = np.random.default_rng(0).integers(0, 256, [5, 4, 4, 3], "uint8")
    before = load(images).identity()
    assert not compare(before, load(images.copy()).identity())
    other = images.copy()
    other[2, 0, 0, 0] ^= 1
    assert compare(before, load(other).identity()).changed == ("image 2",)
    assert compare(before, load(images[[1, 0, 2, 3, 4]]).identity()).moved == (
        "image 0",
        "image 1",
    )
    assert compare(before, load(images[:4]).identity()).vanished == ("image 4",)
    assert hash_image(images[0]) != hash_image(images[0].reshape(2, 8, 3)), "the shape counts"


def test_an_identity_is_stored_as_text():
    identity = files(("größe\\x1b.png", "12-a"), ("b", "af09", False), (None, "17"))
    assert Identity.from_json(identity.to_json()) == identity
    assert identity.digest() == Identity.from_json(identity.to_json()).digest()
    assert files(("a", "1")).digest() != files(("a", "2")).digest()
    assert files(("a", "1")).digest() == files(("a", "1", False)).digest()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"facts": 1, "images": []}', '{"facts": {}, "images": [[1, "2"]]}']
)
def test_what_is_not_an_identity_is_refused(text):
    with pytest.raises(ValueError, match="not the identity of a set of images"):
        Identity.from_json(text)
