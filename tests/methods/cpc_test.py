import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import encoders
from cl_keras.heads.context import context_network
from cl_keras.methods import CPC
from cl_keras.views import patch_grid
from tests.tiny import tiny_encoder

PATCHES = patch_grid(12, 1, grid=4)


def tiny_cpc(**options):
    keras.utils.set_random_seed(0)
    options = {"views": PATCHES, "steps": (1, 2), "target_dim": 4, "context_layers": 1} | options
    model = CPC(tiny_encoder(), **options)
    model.compile(keras.optimizers.SGD(0.05))
    return model


def test_a_context_sees_its_row_and_those_above(random):
    network = context_network(3, layers=2, hidden_dim=4)
    grid = random.normal(size=[1, 5, 5, 3]).astype("float32")
    before = network(grid).numpy()
    for row in range(5):
        changed = grid.copy()
        changed[0, row, 2] += 1
        moved = np.abs(network(changed).numpy() - before).max(axis=(0, 2, 3)) > 1e-7
        assert not moved[:row].any() and moved[row]


def turned(grid, direction):
    return {
        "down": grid,
        "up": grid[:, ::-1],
        "right": grid.transpose(0, 2, 1, 3),
        "left": grid.transpose(0, 2, 1, 3)[:, ::-1],
    }[direction]


@pytest.mark.parametrize("directions", [("down",), ("down", "up", "right", "left")])
def test_the_loss_is_its_formula(images, directions, float64):
    """Every patch of every image is a candidate; the right one is k rows further down."""
    model = tiny_cpc(directions=directions)
    batch = model.make_batch({"image": images[:3]}, seed=0, step=0)
    flat = tf.reshape(batch["views"], [3 * 16, *batch["views"].shape[2:]])
    grid = model.encoder(flat, training=True).numpy().reshape(3, 4, 4, -1)
    losses, hits = [], []
    for number, direction in enumerate(directions):
        z = turned(grid, direction)
        seen = model.contexts[number](z).numpy()
        target = z @ model.target_layer.kernel.numpy()
        candidates = target.reshape(3 * 16, -1)
        predictors = model.predictors[number * len(model.steps) :]
        for k, predictor in zip(model.steps, predictors, strict=False):
            each = []
            for image, row, column in np.ndindex(3, 4 - k, 4):
                predicted = 0.1 * seen[image, row, column] @ predictor.kernel.numpy()
                scores = candidates @ predicted
                right = image * 16 + (row + k) * 4 + column
                each.append(np.log(np.exp(scores).sum()) - scores[right])
                hits.append(scores.argmax() == right)
            losses.append(np.mean(each))
    received = model.objective(batch, training=True)
    np.testing.assert_allclose(received.loss, np.mean(losses), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(received.hits[:, 0], hits)


def test_it_finds_patches_above_chance_on_smooth_images(images):
    model = tiny_cpc()
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(images, batch_size=16, epochs=12, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] < np.log(16 * 16) + 0.1
    assert history["contrastive_accuracy"][-1] > 3 / 256


def test_what_does_not_fit_is_refused(images):
    with pytest.raises(ValueError, match="directions must be of .* received"):
        tiny_cpc(directions=("north",))
    with pytest.raises(ValueError, match="steps must be row offsets"):
        tiny_cpc(steps=(0,))
    with pytest.raises(
        ValueError, match="predicts 4 rows ahead, but the grid of the views has only 4 rows"
    ):
        tiny_cpc(steps=(4,)).fit(images, batch_size=8, verbose=0)


@pytest.mark.parametrize("norm, words", [("batch", "has batch normalization"), ("layer", "")])
def test_batch_normalization_causes_a_warning(norm, words, caplog):
    CPC(encoders.small_resnet(image_size=12, norm=norm), views=PATCHES, context_layers=1)
    assert words in caplog.text and bool(caplog.text) == bool(words)
