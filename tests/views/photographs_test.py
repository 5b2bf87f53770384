"""Views of photographs are cut from the files at full size."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cl_keras import data, views
from tests.tiny import IMAGE_SIZE, tiny_simclr

PAIR = views.simclr(IMAGE_SIZE, 1)


@pytest.fixture
def folder(tmp_path, random):
    """Eight photographs of 60 × 90 pixels with detail that an image of 12 pixels cannot hold."""
    for i in range(8):
        pixels = random.integers(0, 256, [60, 90]).astype("uint8")
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


def load(folder):
    return data.load(folder, image_size=IMAGE_SIZE, channels=1, progress=False)


def test_a_step_sees_crops_of_the_files(folder):
    """Each view is Pillow's crop of the file, with the boxes of (seed, epoch, index), finished."""
    model = tiny_simclr(views=PAIR, seed=3)
    batches = model._image_batches(load(folder).batches(4, seed=1), None, shuffle=True)
    element = next(iter(batches.from_epoch(5)))
    batch = model.make_batch(element, model.seed, tf.constant(7, tf.int64))
    cropper = PAIR.cropper(3)
    crops = [[], []]
    for index in element["index"].numpy():
        image = Image.open(folder / f"{index}.png")
        boxes, flips = cropper(60, 90, epoch=5, index=index)
        for i, ((y, x, height, width), flip) in enumerate(zip(boxes, flips, strict=True)):
            box = (x, y, x + width, y + height)
            crop = image.resize([IMAGE_SIZE] * 2, Image.Resampling.BILINEAR, box=box)
            crops[i].append(np.asarray(crop)[:, :: -1 if flip else 1, None])
    expected = PAIR.finish([np.stack(crop) for crop in crops], seed=3, step=7)
    for received, wanted in zip(batch["views"], expected, strict=True):
        # Pillow rounds the crop twice, after each axis.
        np.testing.assert_allclose(received, wanted, atol=3)
        assert received.numpy().std(axis=(1, 2, 3)).min() > 0


def test_two_epochs_equal_one_and_another_one(folder):
    whole, first, second = (tiny_simclr(views=PAIR) for _ in range(3))
    batches = load(folder).batches(4, seed=1)
    whole.fit(batches, epochs=2, verbose=0)
    first.fit(batches, epochs=1, verbose=0)
    second.set_weights(first.get_weights())
    second.optimizer.build(second.trainable_variables)
    for new, old in zip(second.optimizer.variables, first.optimizer.variables, strict=True):
        new.assign(old)
    second.fit(batches, epochs=2, initial_epoch=1, verbose=0)
    for received, expected in zip(second.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(received, expected, atol=1e-6)


def test_one_image_can_be_seen_in_two_ways(folder):
    """The evaluation sees whole images; an array in memory is cropped on the device."""
    source = load(folder)
    model = tiny_simclr(views=PAIR)
    assert model.predict(source.batches(4, shuffle=False), verbose=0).shape == (8, 16)
    in_memory = source.images(np.arange(8))
    assert "image" in model._image_batches(in_memory, 4, shuffle=True).element_spec
