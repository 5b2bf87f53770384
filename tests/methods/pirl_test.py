import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data, heads
from cl_keras.methods.pirl import PIRL
from cl_keras.views import PIRLViews, pirl
from tests.complex_step import gradients
from tests.tiny import IMAGE_SIZE, tiny_encoder

VIEWS = pirl(IMAGE_SIZE, channels=1)
LOSSES = pytest.mark.parametrize("loss", ["nce", "info_nce", "softmax"])


def tiny_pirl(optimizer=None, encoder=tiny_encoder, **options):
    keras.utils.set_random_seed(0)
    options = {
        "views": VIEWS,
        "num_images": 32,
        "num_negatives": 8,
        "temperature": 0.2,
        "output_dim": 8,
    } | options
    model = PIRL(encoder(), **options)
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9))
    return model


def pieces_of(images):
    """The nine cells of each image, in order."""
    cells = images.reshape(-1, 3, 4, 3, 4, 1).swapaxes(2, 3)
    return cells.reshape(-1, 9, 4, 4, 1)


def dataset(images, batch=16):
    """Batches that already are views: nothing is drawn, and nothing has to be compiled."""
    pairs = {"views": (images, pieces_of(images)), "index": np.arange(len(images))}
    return tf.data.Dataset.from_tensor_slices(pairs).batch(batch, drop_remainder=True)


def unit(x):
    return x / np.sqrt((x * x).sum(axis=-1, keepdims=True))


def windows(images):
    """Mean of the image under each tap of a 3 × 3 filter: `[..., H, W]` to `[..., 9]`."""
    height, width = images.shape[-2:]
    taps = [
        images[..., y : height - 2 + y, x : width - 2 + x].mean(axis=(-2, -1))
        for y in range(3)
        for x in range(3)
    ]
    return np.stack(taps, axis=-1)


def linear_encoder():
    """A filter and the mean over its positions: linear, and for images of any size."""
    pixels = keras.Input([None, None, 1])
    x = keras.layers.Conv2D(5, 3, use_bias=False)(keras.layers.Rescaling(1 / 256)(pixels))
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))


@LOSSES
@pytest.mark.parametrize("weight", [0.5, 0.2])
def test_two_steps_are_the_paper_in_numpy(random, float64, loss, weight):
    """Weights, bank and Z; equation 5 with the patches first."""
    tau, momentum, rate = 0.5, 0.4, 0.25
    model = PIRL(
        linear_encoder(),
        views=VIEWS,
        num_images=12,
        num_negatives=6,
        loss=loss,
        patch_weight=weight,
        temperature=tau,
        bank_momentum=momentum,
        num_patches=4,
        output_dim=3,
        seed=3,
    )
    model.compile(keras.optimizers.SGD(rate))
    parameters = [v.numpy() for v in model.trainable_variables]
    bank, z, losses = model.bank.bank.numpy(), None, []
    pixels = random.integers(0, 256, [2, 4, 6, 6, 1]).astype("uint8")
    pieces = random.integers(0, 256, [2, 4, 4, 4, 4, 1]).astype("uint8")
    indices = np.array([[0, 1, 2, 3], [3, 4, 5, 11]])

    batches = tf.data.Dataset.from_tensor_slices({"views": (pixels, pieces), "index": indices})
    history = model.fit(batches, verbose=0)

    for step, index in enumerate(indices):
        x, y = windows(pixels[step, ..., 0] / 256), windows(pieces[step, ..., 0] / 256)

        def embed(taps, image, image_bias, each, each_bias, both, both_bias, x=x, y=y):
            taps = taps.reshape(9, 5)
            patches = (y @ taps @ each + each_bias).reshape(4, -1)
            return unit(patches @ both + both_bias), unit(x @ taps @ image + image_bias)

        slots = np.concatenate([index[:, None], model.bank.draw(6, 3, step, rows=4)], axis=1)
        if loss == "nce":
            scores = [np.einsum("bd,bkd->bk", v, bank[slots]) for v in embed(*parameters)]
            new = 12 * np.exp(np.concatenate(scores)[:, 1:] / tau).mean()
            z = new if z is None else z  # the first batch is measured by its own Z

        before = bank.copy()

        def term(query, index=index, slots=slots, z=z, bank=before):
            if loss == "softmax":
                scores = query @ bank.T / tau
                return -(scores[range(4), index] - np.log(np.exp(scores).sum(axis=1))).mean()
            if loss == "info_nce":
                count = np.concatenate([np.ones([4, 1]), slots[:, 1:] != index[:, None]], axis=1)
                each = np.exp(np.einsum("bd,bkd->bk", query, bank[slots]) / tau) * count
                return -np.log(each[:, 0] / each.sum(axis=1)).mean()
            probability = np.exp(np.einsum("bd,bkd->bk", query, bank[slots]) / tau) / z
            h = probability / (probability + 6 / 12)
            return -(np.log(h[:, 0]) + np.log(1 - h[:, 1:]).sum(axis=1)).mean()

        def objective(*p, embed=embed, term=term):
            patches, whole = embed(*p)
            return weight * term(patches) + (1 - weight) * term(whole)

        losses.append(objective(*parameters))
        whole = embed(*parameters)[1]
        slopes = gradients(objective, parameters)
        parameters = [p - rate * slope for p, slope in zip(parameters, slopes, strict=True)]
        if loss == "nce":
            z = new if step == 0 else 0.99 * z + 0.01 * new
        bank[index] = unit(momentum * bank[index] + (1 - momentum) * whole)

    for received, wanted in zip(model.trainable_variables, parameters, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=0, atol=1e-10, err_msg=received.path)
    np.testing.assert_allclose(model.bank.bank, bank, rtol=0, atol=1e-10)
    np.testing.assert_allclose(history.history["loss"], [np.mean(losses)], rtol=0, atol=1e-10)
    if loss == "nce":
        np.testing.assert_allclose(np.exp(model.partition.log_z), z, rtol=1e-10)


@pytest.mark.parametrize("weight, still", [(0.0, "patch_head"), (1.0, "head")])
def test_a_term_with_zero_weight_has_no_effect(images, weight, still):
    model = tiny_pirl(encoder=linear_encoder, patch_weight=weight)
    before = [v.numpy() for v in getattr(model, still).variables]
    model.fit(dataset(images[:16]), verbose=0)
    for old, variable in zip(before, getattr(model, still).variables, strict=True):
        np.testing.assert_array_equal(old, variable)


def test_fit_on_images_makes_the_views_of_the_step(images):
    (batch,) = data.load(images).batches(32, seed=0)
    views = VIEWS(batch["image"], seed=0, step=0)
    ready = tf.data.Dataset.from_tensors({"views": views, "index": batch["index"]})
    received, expected = tiny_pirl(), tiny_pirl()
    received.fit(images, batch_size=32, verbose=0)
    expected.fit(ready, verbose=0)
    np.testing.assert_array_equal(received.bank.bank, expected.bank.bank)
    assert isinstance(PIRL.default_views(12, 1), PIRLViews)


def test_only_the_image_moves_the_bank(images):
    views = images[:16], pieces_of(images[:16])
    other = images[16:], pieces_of(images[16:])

    def bank_after(*pair):
        model = tiny_pirl(encoder=linear_encoder)
        batch = {"views": pair, "index": np.arange(16)}
        model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
        return model.bank.bank.numpy()

    expected = bank_after(*views)
    np.testing.assert_array_equal(bank_after(views[0], other[1]), expected)
    assert np.abs(bank_after(other[0], views[1]) - expected).max() > 1e-3


def test_data_and_values_that_do_not_fit_are_refused(images):
    bare = dataset(images).map(lambda batch: {"views": batch["views"]})
    with pytest.raises(ValueError, match="needs the index of each image"):
        tiny_pirl().fit(bare, verbose=0)
    with pytest.raises(ValueError, match="num_images=20; .* has 32"):
        tiny_pirl(num_images=20).fit(data.load(images).batches(16), verbose=0)
    with pytest.raises(ValueError, match="made for 4 patches; the views give 9"):
        tiny_pirl(num_patches=4).fit(dataset(images), verbose=0)
    with pytest.raises(ValueError, match="must be one of .*received 'jsd'"):
        tiny_pirl(loss="jsd")
    with pytest.raises(ValueError, match=r"patch_weight must lie in \[0, 1\]; received 2"):
        tiny_pirl(patch_weight=2)
    pixels = keras.Input([12, 12, 1])
    fixed = keras.Model(pixels, keras.layers.Flatten()(pixels))
    with pytest.raises(ValueError, match="must take any size; .* takes .12, 12. pixels"):
        PIRL(fixed, views=VIEWS, num_images=32)


def test_the_defaults_are_the_papers():
    config = PIRL(tiny_encoder(), views=VIEWS, num_images=100).get_config()
    expected = {
        "num_negatives": 32_000,
        "patch_weight": 0.5,
        "temperature": 0.07,
        "bank_momentum": 0.5,
        "num_patches": 9,
        "output_dim": 128,
    }
    assert config | expected == config


def test_the_two_layer_heads_are_those_of_vissl():
    model = tiny_pirl(head="mlp")
    assert [tuple(v.shape) for v in model.head.variables] == [(16, 16), (16,), (16, 8), (8,)]
    shapes = [tuple(v.shape) for v in model.patch_head.variables]
    assert shapes == [(16, 16), (16,), (16, 128), (128,), (1152, 8), (8,)]


def test_heads_may_be_models_and_are_restored():
    head, patches = heads.linear(16, output_dim=3), heads.patch_head(16, output_dim=3)
    model = tiny_pirl(head=head, patch_head=patches)
    assert model.head is head and model.patch_head is patches and model.bank.dim == 3
    again = PIRL.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    with pytest.raises(ValueError, match=r"must map \(9, 16\) to \(8,\).* to \(3,\)"):
        tiny_pirl(patch_head=patches)
