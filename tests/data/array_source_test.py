"""Images from arrays, and the behavior common to all sources."""

import numpy as np
import pytest

from cl_keras.data import load, write_skipped
from cl_keras.data.source import Source


@pytest.fixture
def color(random):
    return random.integers(0, 256, [6, 9, 7, 3]).astype("uint8")


def test_arrays_are_given_back_as_they_are(color):
    source = load(color)
    assert len(source) == source.num_images == 6
    assert source.image_shape == (9, 7, 3)
    assert source.labels is None and source.class_names is None and source.names is None
    assert source.skipped == [] and source.name == "array"
    np.testing.assert_array_equal(source.images([4, 0, 4]), color[[4, 0, 4]])
    assert source.images([]).shape == (0, 9, 7, 3)
    assert set(source.batches(2).element_spec) == {"image", "index"}


def test_gray_arrays_get_a_channel(color):
    np.testing.assert_array_equal(load(color[..., 0]).images(range(6)), color[..., :1])


def test_channels_are_converted(color):
    luma = np.round(color @ [0.299, 0.587, 0.114])
    gray = load(color, channels=1).images(range(6))
    assert gray.shape == (6, 9, 7, 1)
    assert np.abs(gray[..., 0] - luma).max() <= 1
    repeated = load(color[..., 0], channels=3).images(range(6))
    np.testing.assert_array_equal(repeated, np.repeat(color[..., :1], 3, axis=-1))


def test_a_memory_map_is_read_in_pieces(tmp_path, color):
    mapped = np.memmap(tmp_path / "a.raw", np.uint8, "w+", shape=color.shape)
    mapped[:] = color
    source = load(mapped)
    assert source._array.base is not None, "a view, no copy"
    np.testing.assert_array_equal(source.images([5, 1]), color[[5, 1]])
    assert next(iter(source.batches(2)))["image"].shape == (2, 9, 7, 3)


def test_labels_are_taken_and_counted(color):
    source = load(color, labels=[3, 1, 2, 0, 0, 1])
    assert source.labels.dtype == np.int64 and source.labels.tolist() == [3, 1, 2, 0, 0, 1]
    assert source.has_labels and not load(color, labels=None).has_labels
    with pytest.raises(ValueError, match="received 5 labels for 6 images"):
        load(color, labels=[0] * 5)
    with pytest.raises(ValueError, match=r"float64 of shape \(6,\)"):
        load(color, labels=np.zeros(6))
    with pytest.raises(ValueError, match=r"shape \(6, 2\).*argmax"):
        load(color, labels=np.eye(2, dtype=int)[[0, 1, 1, 0, 1, 1]])


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_other_types_are_refused_with_the_remedy(color, dtype):
    with pytest.raises(TypeError, match=rf"uint8.*received {dtype}.*values are in 0 … "):
        load(color.astype(dtype))


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 8, 8), (5, 8, 8, 2), (2, 5, 8, 8, 3)])
def test_other_shapes_are_refused_with_the_remedy(shape):
    with pytest.raises(ValueError, match=r"\[n, h, w, c\].*transpose"):
        load(np.zeros(shape, np.uint8))


def test_an_empty_array_is_refused():
    with pytest.raises(ValueError, match=r"must not be empty; received shape \(0, 8, 8\)"):
        load(np.zeros([0, 8, 8], np.uint8))


@pytest.mark.parametrize("index", [-1, 6])
def test_indices_outside_are_refused(color, index):
    with pytest.raises(IndexError, match=f"images 0 to 5, received index {index}"):
        load(color).images([0, index])


class Skipping(Source):
    """A source with awkward names among its skipped files."""

    skipped = [("a\tb.jpg", "empty file"), ("größe\n.png", "cut"), ("\udcff.gif", "bytes")]

    def _read(self, indices):
        raise NotImplementedError


def test_skipped_files_are_written_a_line_each(tmp_path):
    path = tmp_path / "skipped.tsv"
    path.write_text("an earlier list")
    write_skipped(Skipping("it", 1, (1, 1, 1)), path)
    expected = "a\\tb.jpg\tempty file\ngröße\\n.png\tcut\n".encode() + b"\xff.gif\tbytes\n"
    assert path.read_bytes() == expected
    assert [file.name for file in tmp_path.iterdir()] == ["skipped.tsv"], "nothing left beside it"
    with pytest.raises(FileNotFoundError):
        write_skipped(Skipping("it", 1, (1, 1, 1)), tmp_path / "no" / "skipped.tsv")
