import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data, heads
from cl_keras.methods.inst_disc import InstDisc
from cl_keras.views import inst_disc
from tests.complex_step import gradients
from tests.tiny import IMAGE_SIZE, places_in_memory, tiny_encoder

ONE_VIEW = inst_disc(IMAGE_SIZE, channels=1)
LOSSES = pytest.mark.parametrize("loss", ["nce", "info_nce", "softmax"])


def tiny_inst_disc(optimizer=None, encoder=tiny_encoder, **options):
    keras.utils.set_random_seed(0)
    options = {
        "views": ONE_VIEW,
        "num_images": 32,
        "num_negatives": 8,
        "temperature": 0.2,
        "output_dim": 8,
    } | options
    model = InstDisc(encoder(), **options)
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9))
    return model


def dataset(images, batch=16):
    """Batches that already are views: nothing is drawn, and nothing has to be compiled."""
    pairs = {"views": (images,), "index": np.arange(len(images))}
    return tf.data.Dataset.from_tensor_slices(pairs).batch(batch, drop_remainder=True)


def unit(x):
    return x / np.sqrt((x * x).sum(axis=-1, keepdims=True))


def nce(scores, z, tau, num_images):
    """Mean over the queries, also for complex numbers; each query's own image is in column 0."""
    probability = np.exp(scores / tau) / z
    h = probability / (probability + (scores.shape[1] - 1) / num_images)
    return -(np.log(h[:, 0]) + np.log(1 - h[:, 1:]).sum(axis=1)).mean()


def softmax(scores, index, tau):
    own = scores[np.arange(len(index)), index]
    return -(own / tau - np.log(np.exp(scores / tau).sum(axis=1))).mean()


def linear_encoder(size=12):
    """A matrix."""
    pixels = keras.Input([size, size, 1])
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 256)(pixels))
    return keras.Model(pixels, keras.layers.Dense(5, use_bias=False)(x))


def linear_model(loss, tau, momentum):
    """InstDisc without a nonlinearity."""
    return InstDisc(
        linear_encoder(3),
        views=inst_disc(3, 1),
        num_images=12,
        num_negatives=6,
        loss=loss,
        temperature=tau,
        bank_momentum=momentum,
        output_dim=4,
        seed=3,
    )


@LOSSES
def test_five_steps_are_the_paper_in_numpy(random, float64, loss):
    """Weights, bank and Z, with repeated images."""
    tau, momentum, rate = 0.5, 0.4, 0.25
    model = linear_model(loss, tau, momentum)
    model.compile(keras.optimizers.SGD(rate))
    parameters = [v.numpy() for v in model.trainable_variables]
    bank, z, losses = model.bank.bank.numpy(), None, []
    pixels = random.integers(0, 256, [5, 4, 3, 3, 1]).astype("uint8")
    indices = np.array([[0, 1, 2, 3], [3, 4, 5, 6], [11, 10, 1, 0], [7, 8, 9, 0], [2, 4, 6, 8]])

    batches = tf.data.Dataset.from_tensor_slices({"views": (pixels,), "index": indices})
    history = model.fit(batches, verbose=0)

    for step, (batch, index) in enumerate(zip(pixels, indices, strict=True)):
        x = batch.reshape(4, 9) / 256

        def embed(first, second, bias, x=x):
            return unit(x @ first @ second + bias)

        slots = np.concatenate([index[:, None], model.bank.draw(6, 3, step, rows=4)], axis=1)
        if loss == "nce":
            scores = np.einsum("bd,bkd->bk", embed(*parameters), bank[slots])
            new = 12 * np.exp(scores[:, 1:] / tau).mean()
            z = new if z is None else z  # the first batch is measured by its own Z

        before = bank.copy()

        def objective(*p, index=index, slots=slots, z=z, embed=embed, bank=before):
            if loss == "softmax":
                return softmax(embed(*p) @ bank.T, index, tau)
            if loss == "info_nce":  # the own image does not count where it was drawn again
                count = np.concatenate([np.ones([4, 1]), slots[:, 1:] != index[:, None]], axis=1)
                each = np.exp(np.einsum("bd,bkd->bk", embed(*p), bank[slots]) / tau) * count
                return -np.log(each[:, 0] / each.sum(axis=1)).mean()
            return nce(np.einsum("bd,bkd->bk", embed(*p), bank[slots]), z, tau, 12)

        losses.append(objective(*parameters))
        embedded = embed(*parameters)
        slopes = gradients(objective, parameters)
        parameters = [p - rate * slope for p, slope in zip(parameters, slopes, strict=True)]
        if loss == "nce":
            z = new if step == 0 else 0.99 * z + 0.01 * new
        bank[index] = unit(momentum * bank[index] + (1 - momentum) * embedded)

    for received, wanted in zip(model.trainable_variables, parameters, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=0, atol=1e-10, err_msg=received.path)
    np.testing.assert_allclose(model.bank.bank, bank, rtol=0, atol=1e-10)
    np.testing.assert_allclose(history.history["loss"], [np.mean(losses)], rtol=0, atol=1e-10)
    if loss == "nce":
        np.testing.assert_allclose(np.exp(model.partition.log_z), z, rtol=1e-10)


def test_a_step_moves_only_the_rows_of_its_images(images):
    model = tiny_inst_disc()
    before = model.bank.bank.numpy()
    model.fit(dataset(images[:16]), verbose=0)
    moved = np.abs(before - model.bank.bank.numpy()).max(axis=1) > 0
    np.testing.assert_array_equal(moved, np.arange(32) < 16)


@LOSSES
def test_no_step_copies_the_bank(images, loss):
    model = tiny_inst_disc(loss=loss)
    assert len(places_in_memory(model, model.bank.bank, dataset(images[:32], batch=8))) == 1


def test_fit_on_images_makes_the_views_of_the_step(images):
    (batch,) = data.load(images).batches(32, seed=0)
    views = ONE_VIEW(batch["image"], seed=0, step=0)
    ready = tf.data.Dataset.from_tensors({"views": views, "index": batch["index"]})
    received, expected = tiny_inst_disc(), tiny_inst_disc()
    received.fit(images, batch_size=32, verbose=0)
    expected.fit(ready, verbose=0)
    np.testing.assert_array_equal(received.bank.bank, expected.bank.bank)
    assert InstDisc.default_views(12, 1).num_views == 1


def test_the_first_of_several_views_is_used(images):
    views = images[:16], images[16:]
    index = np.arange(16)
    losses = [
        tiny_inst_disc(encoder=linear_encoder)
        .fit(tf.data.Dataset.from_tensors(batch), verbose=0)
        .history["loss"]
        for batch in (
            {"views": views, "index": index},
            {"views": views[:1], "index": index},
            {"views": views[1:], "index": index},
        )
    ]
    assert losses[0] == losses[1] != losses[2]


def test_data_without_a_fitting_index_is_refused(images):
    bare = dataset(images).map(lambda batch: {"views": batch["views"]})
    with pytest.raises(ValueError, match="needs the index of each image"):
        tiny_inst_disc().fit(bare, verbose=0)
    with pytest.raises(ValueError, match="num_images=20; .* has 32"):
        tiny_inst_disc(num_images=20).fit(data.load(images).batches(16), verbose=0)
    with pytest.raises(ValueError, match='received no "index"'):
        tiny_inst_disc().evaluate(bare, verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must lie in 0\.\.19"):
        tiny_inst_disc(num_images=20).fit(dataset(images), verbose=0)


def test_a_dataset_with_more_images_than_rows_causes_a_warning(images, caplog):
    joined = dataset(images[:16]).concatenate(dataset(images[16:]))
    tiny_inst_disc(num_images=16).fit(joined, verbose=0)
    assert "num_images=16, and an epoch of this dataset has 32" in caplog.text


def test_an_order_that_reveals_the_image_by_its_age_causes_a_warning(images, caplog, monkeypatch):
    source = data.load(images)
    tiny_inst_disc().fit(source.batches(16), verbose=0)
    assert not caplog.text
    tiny_inst_disc().fit(source.batches(16, shuffle=False), verbose=0)
    assert "has shuffle=False: each image comes at nearly the same point" in caplog.text
    monkeypatch.setattr(type(source), "shuffles_whole", False)
    tiny_inst_disc().fit(source.batches(16), verbose=0)
    assert "is too large to be shuffled whole" in caplog.text


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"loss": "hinge"}, "must be one of .*received 'hinge'"),
        ({"bank_momentum": 1.0}, r"bank_momentum must lie in \[0, 1\)"),
        ({"num_images": 0}, "size=0"),
        ({"temperature": 0}, "temperature must be a number above 0"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        tiny_inst_disc(**wrong)


def test_the_defaults_are_the_papers():
    config = InstDisc(tiny_encoder(), views=ONE_VIEW, num_images=100).get_config()
    expected = {
        "num_negatives": 4096,
        "temperature": 0.07,
        "bank_momentum": 0.5,
        "output_dim": 128,
        "loss": "nce",
    }
    assert config | expected == config


def test_the_head_has_one_layer_or_two_or_is_a_model():
    shapes = [tuple(v.shape) for v in tiny_inst_disc(head="mlp").head.variables]
    assert shapes == [(16, 16), (16,), (16, 8), (8,)]
    model = tiny_inst_disc(head=heads.mlp(16, output_dim=3))
    assert model.bank.dim == 3
    assert InstDisc.from_config(model.get_config()).get_config() == model.get_config()
    with pytest.raises(ValueError, match="head must be one of .'linear', 'mlp'. or a built"):
        tiny_inst_disc(head="deep")
