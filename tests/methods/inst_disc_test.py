import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data
from cl_keras.methods.inst_disc import InstDisc
from cl_keras.views.one_view import inst_disc
from tests.complex_step import gradients
from tests.tiny import IMAGE_SIZE, VIEWS, tiny_encoder

ONE_VIEW = inst_disc(IMAGE_SIZE, channels=1)
LOSSES = pytest.mark.parametrize("loss", ["nce", "softmax"])


def tiny_inst_disc(optimizer=None, **options):
    keras.utils.set_random_seed(0)
    options = {
        "views": ONE_VIEW,
        "num_images": 32,
        "num_negatives": 8,
        "temperature": 0.2,
        "output_dim": 8,
    } | options
    model = InstDisc(tiny_encoder(), **options)
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9))
    return model


def dataset(images, batch=16):
    index = np.arange(len(images))
    pairs = tf.data.Dataset.from_tensor_slices({"image": images, "index": index})
    return pairs.batch(batch, drop_remainder=True)


def unit(x):
    return x / np.sqrt((x * x).sum(axis=-1, keepdims=True))


def nce(scores, z, tau, num_images):
    """Mean over the queries, of complex numbers too; the own image in column 0."""
    probability = np.exp(scores / tau) / z
    h = probability / (probability + (scores.shape[1] - 1) / num_images)
    return -(np.log(h[:, 0]) + np.log(1 - h[:, 1:]).sum(axis=1)).mean()


def softmax(scores, index, tau):
    own = scores[np.arange(len(index)), index]
    return -(own / tau - np.log(np.exp(scores / tau).sum(axis=1))).mean()


def linear_model(loss, tau, momentum):
    """InstDisc without a nonlinearity: its encoder is a matrix."""
    pixels = keras.Input([3, 3, 1])
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    encoder = keras.Model(pixels, keras.layers.Dense(5, use_bias=False)(x))
    return InstDisc(
        encoder,
        views=VIEWS,
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
    """Weights, bank and Z, with images that come again."""
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
        x = batch.reshape(4, 9) / 255

        def embed(first, second, bias, x=x):
            return unit(x @ first @ second + bias)

        slots = np.concatenate([index[:, None], model.bank.draw(6, 3, step, rows=4)], axis=1)
        if loss == "nce":
            scores = np.einsum("bd,bkd->bk", embed(*parameters), bank[slots])
            new = 12 * np.exp(scores[:, 1:] / tau).mean()
            z = new if z is None else 0.99 * z + 0.01 * new

        before = bank.copy()

        def objective(*p, index=index, slots=slots, z=z, embed=embed, bank=before):
            if loss == "softmax":
                return softmax(embed(*p) @ bank.T, index, tau)
            return nce(np.einsum("bd,bkd->bk", embed(*p), bank[slots]), z, tau, 12)

        losses.append(objective(*parameters))
        embedded = embed(*parameters)
        slopes = gradients(objective, parameters)
        parameters = [p - rate * slope for p, slope in zip(parameters, slopes, strict=True)]
        bank[index] = unit(momentum * bank[index] + (1 - momentum) * embedded)

    for received, wanted in zip(model.trainable_variables, parameters, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=0, atol=1e-10, err_msg=received.path)
    np.testing.assert_allclose(model.bank.bank, bank, rtol=0, atol=1e-10)
    np.testing.assert_allclose(history.history["loss"], [np.mean(losses)], rtol=0, atol=1e-10)
    if loss == "nce":
        np.testing.assert_allclose(np.exp(model.partition.log_z), z, rtol=1e-10)


@LOSSES
def test_two_devices_equal_one(images, float64, mirrored, loss):
    """Loss, every weight, the bank, Z and every momentum after 4 steps."""
    twice = dataset(images).repeat(2)
    one = tiny_inst_disc(loss=loss)
    alone = one.fit(twice, verbose=0).history
    with mirrored.scope():
        two = tiny_inst_disc(loss=loss)
    together = two.fit(twice, verbose=0).history
    for name in ("loss", "contrastive_accuracy"):
        np.testing.assert_allclose(together[name], alone[name], rtol=0, atol=1e-9)
    kinds = [(m.variables, m.optimizer.variables) for m in (one, two)]
    for own, other in zip(*kinds, strict=True):
        assert len(own) == len(other) > 0
        for a, b in zip(own, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-9, err_msg=a.path)
    for variable in two.variables:
        copies = variable.value.values
        np.testing.assert_array_equal(copies[0], copies[1], err_msg=variable.path)
    assert int(two.step.numpy()) == 4


@LOSSES
def test_encoder_and_head_get_a_gradient_and_the_bank_gets_none(images, loss):
    model = tiny_inst_disc(loss=loss)
    wanted = model.encoder.trainable_variables + model.head.trainable_variables
    assert [v.path for v in model.trainable_variables] == [v.path for v in wanted]
    before = [v.numpy() for v in wanted]
    model.fit(dataset(images[:16]), verbose=0)
    for old, variable in zip(before, wanted, strict=True):
        assert np.abs(old - variable.numpy()).max() > 0, variable.path


def test_a_step_moves_the_rows_of_its_images_alone(images):
    model = tiny_inst_disc()
    before = model.bank.bank.numpy()
    model.fit(dataset(images[:16]), verbose=0)
    moved = np.abs(before - model.bank.bank.numpy()).max(axis=1) > 0
    np.testing.assert_array_equal(moved, np.arange(32) < 16)


@LOSSES
def test_evaluate_moves_nothing_and_repeats_itself(images, loss):
    model = tiny_inst_disc(loss=loss)
    model.fit(images, batch_size=16, verbose=0)
    before = [v.numpy() for v in [*model.encoder.variables, *model.bank.variables, model.step]]
    first = model.evaluate(images, batch_size=16, return_dict=True, verbose=0)
    assert first == model.evaluate(images, batch_size=16, return_dict=True, verbose=0)
    after = [*model.encoder.variables, *model.bank.variables, model.step]
    for old, variable in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, variable, err_msg=variable.path)


@LOSSES
def test_it_survives_its_file_with_all_its_state(images, tmp_path, loss):
    model = tiny_inst_disc(loss=loss, seed=5, bank_momentum=0.3)
    model.fit(images, batch_size=16, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())
    for _ in range(2):  # as saved, and after another epoch of both
        for a, b in zip(again.variables, model.variables, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=b.path)
        for m in (model, again):
            m.fit(images, batch_size=16, epochs=2, initial_epoch=1, verbose=0)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
@LOSSES
def test_mixed_precision_learns(images, policy, loss):
    """Each image finds its own row."""
    model = tiny_inst_disc(keras.optimizers.Adam(0.01), loss=loss)
    model.fit(images, batch_size=16, epochs=1, verbose=0)
    untrained = model.evaluate(images, batch_size=16, return_dict=True, verbose=0)
    model.fit(images, batch_size=16, epochs=25, verbose=0)
    trained = model.evaluate(images, batch_size=16, return_dict=True, verbose=0)
    assert trained["loss"] < untrained["loss"] - 0.3
    assert trained["contrastive_accuracy"] > untrained["contrastive_accuracy"] + 0.2


def test_the_first_of_several_views_is_used(images):
    views = VIEWS(images[:16], seed=0, step=0)
    index = np.arange(16)
    losses = [
        tiny_inst_disc().fit(tf.data.Dataset.from_tensors(batch), verbose=0).history["loss"]
        for batch in (
            {"views": views, "index": index},
            {"views": views[:1], "index": index},
            {"views": views[1:], "index": index},
        )
    ]
    assert losses[0] == losses[1] != losses[2]


def test_data_without_a_fitting_index_is_refused(images):
    bare = tf.data.Dataset.from_tensor_slices(images).batch(16)
    with pytest.raises(ValueError, match='received no "index"'):
        tiny_inst_disc().fit(bare, verbose=0)
    with pytest.raises(ValueError, match="has 20 rows, fewer than the 32 images"):
        tiny_inst_disc(num_images=20).fit(data.load(images).batches(16), verbose=0)
    with pytest.raises(ValueError, match='received no "index"'):
        tiny_inst_disc().evaluate(bare, verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must lie in 0\.\.19"):
        tiny_inst_disc(num_images=20).fit(dataset(images), verbose=0)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"loss": "info_nce"}, "must be one of .*received 'info_nce'"),
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
