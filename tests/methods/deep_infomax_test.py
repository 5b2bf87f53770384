import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras.methods import DeepInfoMax
from cl_keras.views import inst_disc
from tests.tiny import IMAGE_SIZE, VIEWS, tiny_encoder

ONE_VIEW = inst_disc(IMAGE_SIZE, channels=1)


def tiny_dim(**options):
    keras.utils.set_random_seed(0)
    options = {"views": ONE_VIEW, "critic_dim": 8, "output_dim": 6} | options
    model = DeepInfoMax(tiny_encoder(), **options)
    model.compile(keras.optimizers.SGD(0.05))
    return model


def softplus(x):
    return np.log(1 + np.exp(x))


def jsd_by_loops(scores, image_of_query, image_of_candidate):
    own, other = [], []
    for i, j in np.ndindex(scores.shape):
        (own if image_of_query[i] == image_of_candidate[j] else other).append(scores[i, j])
    found = -softplus(-np.array(own)).mean() - softplus(np.array(other)).mean()
    return found + 2 * np.log(2)


@pytest.mark.parametrize("critic", ["dot", "concat"])
def test_the_local_term_is_its_formula(images, critic, float64):
    model = tiny_dim(critic=critic, prior_weight=0.0)
    batch = model.make_batch({"image": images[:5]}, seed=0, step=0)
    places, vector = model.maps(batch["views"][0], training=True)
    count = places.shape[1] * places.shape[2]
    [local] = model.local_critics
    scores = local(model.head(vector, training=True), tf.reshape(places, [5 * count, -1])).numpy()
    expected = -jsd_by_loops(scores, range(5), np.repeat(range(5), count))
    received = model.objective(batch, training=True)
    np.testing.assert_allclose(received.loss, expected, rtol=0, atol=1e-10)
    best = scores.argmax(axis=1) // count == np.arange(5)
    np.testing.assert_array_equal(received.hits[:, 0], best)


def test_the_global_term_compares_whole_maps(images, float64):
    model = tiny_dim(global_weight=2.0, local_weight=0.0, prior_weight=0.0)
    batch = model.make_batch({"image": images[:5]}, seed=0, step=0)
    places, vector = model.maps(batch["views"][0], training=True)
    y = model.head(vector, training=True)
    scores = model.global_critic(y, tf.reshape(places, [5, -1])).numpy()
    expected = -2.0 * jsd_by_loops(scores, range(5), range(5))
    received = model.objective(batch, training=True).loss
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-10)


def test_with_two_views_each_recognizes_the_locations_of_the_other(images, float64):
    model = tiny_dim(views=VIEWS, prior_weight=0.0, at=("stem", "block"))
    batch = model.make_batch({"image": images[:5]}, seed=0, step=0)
    seen = [model.maps(view, training=True) for view in batch["views"]]
    total = 0
    for this, other in ((0, 1), (1, 0)):
        y = model.head(seen[this][-1], training=True)
        for critic, places in zip(model.local_critics, seen[other][:-1], strict=True):
            count = places.shape[1] * places.shape[2]
            flat = tf.reshape(places, [5 * count, places.shape[-1]])
            scores = critic(y, flat).numpy()
            total -= jsd_by_loops(scores, range(5), np.repeat(range(5), count)) / 2 / 2
    received = model.objective(batch, training=True).loss
    np.testing.assert_allclose(received, total, rtol=0, atol=1e-10)


def test_the_adversary_and_the_encoder_learn_against_each_other(images, float64):
    """The discriminator descends its loss; y gets the same gradient, reversed, times γ."""
    model = tiny_dim(prior_weight=0.3)
    y = tf.Variable(np.random.default_rng(0).normal(size=[5, 6]))
    with tf.GradientTape(persistent=True) as tape:
        loss = model._prior(y, 0, training=True).loss
        made = model.discriminator(tf.sigmoid(y), training=True)
        plain = tf.reduce_mean(tf.nn.softplus(made))
    np.testing.assert_allclose(
        tape.gradient(loss, y), -0.3 * tape.gradient(plain, y), rtol=0, atol=1e-12
    )
    before, kernel = float(loss), model.discriminator.trainable_variables[0]
    slope = tape.gradient(loss, kernel.value)
    kernel.assign_sub(1e-3 * slope)
    assert float(model._prior(y, 0, training=True).loss) < before


def test_the_prior_is_uniform_and_new_in_every_step(images):
    model = tiny_dim()
    seen = []
    model.discriminator = lambda x, training: seen.append(x) or x[:, :1]
    for step in range(2):
        model.step.assign(step)
        model._prior(tf.zeros([4000, 6]), 0, training=True)
    drawn = [seen[0].numpy(), seen[2].numpy()]
    assert np.abs(drawn[0] - drawn[1]).max() > 0.5
    assert abs(drawn[0].mean() - 0.5) < 0.01 and abs(drawn[0].var() - 1 / 12) < 0.003
    assert (seen[1].numpy() == 0.5).all()  # sigmoid(0)


def test_the_defaults_are_those_of_the_papers_local_form():
    config = DeepInfoMax(tiny_encoder(), views=ONE_VIEW).get_config()
    weights = [config[f"{name}_weight"] for name in ("global", "local", "prior")]
    assert weights == [0.0, 1.0, 0.1] and config["bound"] == "jsd" and config["output_dim"] == 64


@pytest.mark.parametrize(
    "options, message",
    [
        ({"bound": "kl"}, "bound must be one of .* received 'kl'"),
        ({"critic": "sum"}, "critic must be one of .* received 'sum'"),
        ({"local_weight": 0.0}, "one of the first two must be above"),
        ({"prior_weight": -1.0}, "must not be negative"),
        ({"at": ("layer9",)}, "received 'layer9'"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_dim(**options)


def test_it_takes_one_or_two_views(images):
    for count in (1, 2):
        views = DeepInfoMax.default_views(IMAGE_SIZE, 1, num_views=count)
        assert len(views(images, seed=0, step=0)) == count
    with pytest.raises(ValueError, match="num_views must be 1 or 2; received 3"):
        DeepInfoMax.default_views(IMAGE_SIZE, 1, num_views=3)
