"""Crops cut from files at full size, against a triangle filter in NumPy."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from cl_keras.data import cuts, load, split
from cl_keras.data.cuts import cut

RNG = np.random.default_rng(3)
PHOTO = RNG.integers(0, 256, [90, 140, 3], "uint8")


@dataclasses.dataclass(frozen=True)
class Corners:
    """Crops whose boxes encode the epoch and the index that they were drawn for."""

    sizes: tuple = (6, 4)

    def __call__(self, height, width, *, epoch, index):
        boxes = [[epoch % 5, index % 7, height / 3, width / 4], [0.5, 1.25, height / 2, width / 2]]
        return np.array(boxes), np.array([False, True])


def weights(start, length, size, total):
    """The triangle filter along one axis as a matrix [size, total], from its definition."""
    scale = length / size
    support = max(scale, 1.0)
    matrix = np.zeros([size, total])
    for i in range(size):
        center = start + (i + 0.5) * scale
        for j in range(total):
            if np.floor(center - support + 0.5) <= j < np.floor(center + support + 0.5):
                matrix[i, j] = max(0.0, 1 - abs(j + 0.5 - center) / support)
    return matrix / matrix.sum(axis=1, keepdims=True)


def resized(pixels, box, size):
    """A box of float pixels, resized by that filter."""
    down = weights(box[0], box[2], size, pixels.shape[0])
    across = weights(box[1], box[3], size, pixels.shape[1])
    return np.einsum("ih,jw,hwc->ijc", down, across, pixels.astype(float), optimize=True)


def encoded(pixels, form="PNG", *, mode=None, **options):
    file = io.BytesIO()
    Image.fromarray(pixels, mode).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 3])
def test_boxes_are_resized_by_a_triangle_filter_and_flipped(channels):
    boxes = np.array([[10.25, 20.5, 30.0, 45.5], [0, 0, 90, 140], [50, 100, 5, 6.5]])
    sizes, flips = (8, 16, 12), (False, True, False)
    drawn = []

    def draw(height, width, index):
        drawn.append((height, width, index))
        return boxes, flips

    crops = cut(encoded(PHOTO), 41, sizes, draw, channels=channels)
    assert drawn == [(90, 140, 41)]
    pixels = PHOTO if channels == 3 else np.asarray(Image.fromarray(PHOTO).convert("L"))[..., None]
    for crop, box, size, flip in zip(crops, boxes, sizes, flips, strict=True):
        expected = resized(pixels, box, size)
        assert crop.shape == (size, size, channels) and crop.dtype == np.uint8
        assert np.abs((crop[:, ::-1] if flip else crop) - expected).max() <= 1.5


@pytest.mark.parametrize("side", [7.0, 12.5, 18.0, 24.5])  # 2, 3, 4 and 5 pixels contribute
def test_crops_are_rounded_from_exact_values(side):
    box = np.array([3.3, 4.4, 0.9 * side, side])
    (crop,) = cut(encoded(PHOTO), 0, [10], lambda *_: (box[np.newaxis], [False]))
    assert np.abs(crop - resized(PHOTO, box, 10)).max() <= 0.501


def test_boxes_are_those_of_the_upright_image():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: to be shown rotated by 90 degrees clockwise
    data = encoded(PHOTO, exif=exif.tobytes())
    upright = np.rot90(PHOTO, -1)
    box = np.array([[100.0, 10, 30, 40]])
    (crop,) = cut(data, 0, [10], lambda height, width, index: (box * (height == 140), [False]))
    assert np.abs(crop - resized(upright, box[0], 10)).max() <= 1.5


def test_a_large_jpeg_is_decoded_smaller_only_where_no_crop_loses(monkeypatch):
    smooth = np.asarray(Image.fromarray(PHOTO[:9, :14]).resize((700, 450), Image.BICUBIC))
    data = encoded(smooth, "JPEG", quality=98)
    reductions, decoded = [], cuts._decoded

    def recorded(data, header, channels, reduction):
        reductions.append(reduction)
        return decoded(data, header, channels, reduction)

    monkeypatch.setattr(cuts, "_decoded", recorded)
    for box, size in [((0, 0, 450, 700), 25), ((50, 100, 105, 150), 25), ((3, 5, 40, 30), 25)]:
        boxes = np.array([box], float)
        (crop,) = cut(data, 0, [size], lambda h, w, i, boxes=boxes: (boxes, [False]))
        assert np.abs(crop - resized(smooth, box, size)).mean() < 2
    assert reductions == [8, 4, 1]


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_what_pillow_decodes(mode, reduction):
    smooth = Image.fromarray(PHOTO[:9, :14]).resize((143, 95), Image.BICUBIC).convert(mode)
    data = encoded(np.asarray(smooth), "JPEG", mode=mode, quality=91)
    header = cuts.checked_header(data)
    for channels in (1, 3):
        expected = cuts.read(data, header, channels=channels, reduction=reduction)
        expected = np.asarray(expected).reshape(expected.height, expected.width, channels)
        received = cuts._decoded(data, header, channels, reduction)
        np.testing.assert_array_equal(received, expected)


def test_a_jpeg_that_ends_early_is_refused():
    data = encoded(PHOTO, "JPEG", quality=91)
    with pytest.raises(OSError, match="truncated"):
        cut(data[: len(data) // 2], 0, [10], lambda h, w, i: (np.array([[0, 0, h, w]]), [False]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_decoded_smaller_is_aligned_in_every_orientation(orientation):
    smooth = np.asarray(Image.fromarray(PHOTO[:9, :14]).resize((699, 441), Image.BICUBIC))
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = encoded(smooth, "PNG", exif=exif.tobytes())
    reduced = encoded(smooth, "JPEG", quality=98, exif=exif.tobytes())

    def draw(height, width, index):
        return np.array([[height - 290.0, width - 300.0, 280.0, 290.0]]), [False]

    (expected,), (crop,) = cut(plain, 0, [30], draw), cut(reduced, 0, [30], draw)
    assert np.abs(crop.astype(int) - expected).mean() < 2


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 12 noisy pictures of 90 × 140, one of which cannot be decoded."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        Image.fromarray(np.roll(PHOTO, 5 * number, axis=1)).save(folder / f"{number:02}.png")
    data = bytearray((folder / "04.png").read_bytes())
    start = data.index(b"IDAT") + 4
    data[start : start + 8] = bytes(8)
    (folder / "04.png").write_bytes(data)
    return folder


def source_of(photos, **options):
    return load(photos, image_size=16, progress=False, max_bad_share=0.1, **options)


def expected_crops(index, epoch):
    pixels = np.roll(PHOTO, 5 * index, axis=1)
    boxes, _ = Corners()(90, 140, epoch=epoch, index=index)
    first, second = (resized(pixels, box, s) for box, s in zip(boxes, (6, 4), strict=True))
    return first, second[:, ::-1]


def test_batches_of_crops_are_those_of_epoch_and_index(photos):
    source = source_of(photos, labels=range(12))
    assert source.cuts and source.batches(4).can_cut
    batches = source.batches(4, seed=2).cut(Corners())
    assert [spec.shape for spec in batches.element_spec["crops"]] == [(4, 6, 6, 3), (4, 4, 4, 3)]
    for number, element in enumerate(batches.from_epoch(1, skip=1).take(4)):
        epoch = 1 + (1 + number) // 3
        for row, index in enumerate(element["index"].numpy()):
            assert index != 4 and element["label"][row] == index
            for crop, expected in zip(element["crops"], expected_crops(index, epoch), strict=True):
                assert np.abs(crop[row].numpy() - expected).max() <= 1.5


def test_workers_and_transforms_cut_the_same(photos):
    batches = source_of(photos).batches(4).cut(Corners())
    whole = [e["crops"][0].numpy() for e in batches.prefetch(1).from_epoch(3).take(2)]
    shares = [batches.of_worker(worker, 2).from_epoch(3).take(2) for worker in (0, 1)]
    parts = [np.concatenate([a["crops"][0], b["crops"][0]]) for a, b in zip(*shares, strict=True)]
    np.testing.assert_array_equal(whole, parts)
    assert "image" in batches.in_order().element_spec


def test_subsets_cut_by_their_own_index(photos):
    source = source_of(photos)
    seed = next(s for s in range(99) if 4 in split(source, 0.5, seed=s)[1].indices)
    part = split(source, 0.5, seed=seed)[1]
    for element in part.batches(2, shuffle=False).cut(Corners()):
        for crop, index in zip(element["crops"][0], element["index"].numpy(), strict=True):
            outer = int(part.indices[index])
            boxes, _ = Corners()(90, 140, epoch=0, index=index)
            expected = resized(np.roll(PHOTO, 5 * outer, axis=1), boxes[0], 6)
            assert outer != 4 and np.abs(crop.numpy() - expected).max() <= 1.5


def test_only_photographs_are_cut(photos, tmp_path):
    array = load(PHOTO[None])
    whole = load(photos, progress=False, max_bad_share=0.1)
    Image.fromarray(PHOTO[:16, :16]).save(tmp_path / "a.png")
    small = load(tmp_path, image_size=16, progress=False)
    assert not (array.cuts or whole.cuts or small.cuts)
    mapped = source_of(photos).batches(4).map(lambda element: element)
    for batches in (array.batches(1), mapped):
        with pytest.raises(ValueError, match="crops are cut from image files"):
            batches.cut(Corners())
