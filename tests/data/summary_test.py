"""Summaries of sets of images with known content."""

import numpy as np
from PIL import Image

from cl_keras.data import load
from cl_keras.data.summary import is_gray

RNG = np.random.default_rng(0)


def test_a_folder_is_described_as_it_is(tmp_path):
    for number, (name, size) in enumerate(
        [("ant/a.png", (40, 20)), ("ant/b.jpg", (10, 30)), ("bee/c.png", (20, 20))]
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size, (200, 10 * number, 0)).save(tmp_path / name)
    for name in ["x.heic", "y.heic"]:
        (tmp_path / "ant" / name).write_bytes(b"")
    found = load(tmp_path, image_size=8, progress=False).summary()
    assert (found.num_images, found.sampled, found.gray) == (3, 3, False)
    assert (found.widths, found.heights) == ((10, 20, 40), (20, 20, 30))
    np.testing.assert_allclose(found.aspect, [1 / 3, 1, 2])
    assert found.classes == {"ant": 2, "bee": 1} and found.unlabeled == 0
    ((reason, count),) = found.skipped.items()
    assert count == 2 and reason.startswith("HEIC")
    assert str(found).splitlines()[:2] == [
        "3 images, 10–40 × 20–30 pixels, color",
        "2 classes of 1–2 images",
    ]


def test_gray_images_stored_in_color_are_gray(tmp_path):
    for number in range(12):
        gray = Image.fromarray(RNG.integers(0, 256, [32, 32], "uint8"))
        gray.convert("RGB").save(tmp_path / f"{number}.jpg", quality=60)
    assert load(tmp_path, image_size=8, progress=False).summary().gray
    Image.new("RGB", (32, 32), (90, 60, 90)).save(tmp_path / "5.jpg")
    assert not load(tmp_path, image_size=8, progress=False).summary().gray


def test_a_faint_color_is_a_color_and_noise_is_not():
    gray = np.repeat(RNG.integers(0, 200, [50, 50, 1], "uint8"), 3, axis=-1)
    assert is_gray(gray) and is_gray(gray[..., :1])
    assert is_gray(gray + RNG.integers(0, 5, gray.shape, "uint8"))
    tinted = gray + np.array([20, 0, 0], "uint8")
    assert not is_gray(tinted)


def test_arrays_are_described_as_they_are_stored():
    colored = RNG.integers(0, 256, [20, 6, 9, 3], "uint8")
    found = load(colored, image_size=4, channels=1, labels=[0, -1] * 10).summary(sample=5)
    assert (found.sampled, found.gray, found.widths, found.heights) == (
        *(5, False, (9, 9, 9), (6, 6, 6)),
    )
    assert found.classes == {"0": 10} and found.unlabeled == 10


def test_it_stops_in_time_and_samples_all_parts(tmp_path):
    assert load(np.zeros([500, 4, 4], "uint8")).summary(seconds=0).sampled == 1
    gray = np.zeros([1000, 4, 4, 3], "uint8")
    gray[900:] = [200, 0, 0]
    assert not load(gray).summary(sample=20).gray
