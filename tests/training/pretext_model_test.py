import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data
from cl_keras.methods import SimCLR
from cl_keras.training import PretextModel
from tests.tiny import VIEWS, tiny_encoder, tiny_simclr


def weights_after(model, *args, **kwargs):
    model.fit(*args, verbose=0, **kwargs)
    return [v.numpy() for v in model.trainable_variables]


def assert_same(received, expected, atol=0.0):
    for a, b in zip(received, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_fit_takes_an_array_a_source_its_batches_and_a_dataset_alike(images):
    source = data.load(images)
    expected = weights_after(tiny_simclr(), images, batch_size=16, epochs=2)
    assert_same(weights_after(tiny_simclr(), source, batch_size=16, epochs=2), expected)
    assert_same(weights_after(tiny_simclr(), source.batches(16, seed=0), epochs=2), expected)
    endless = source.batches(16, seed=0).from_epoch(0)
    assert_same(weights_after(tiny_simclr(), endless, epochs=2, steps_per_epoch=2), expected)
    bare = endless.map(lambda element: element["image"])
    assert_same(weights_after(tiny_simclr(), bare, epochs=2, steps_per_epoch=2), expected)


def test_views_made_by_the_user_are_taken_as_they_are(images):
    model = tiny_simclr()
    made = model.views(images[:16], seed=0, step=0)
    ready = tf.data.Dataset.from_tensors({"views": made})
    same = tf.data.Dataset.from_tensors({"image": images[:16]})
    assert_same(weights_after(model, ready), weights_after(tiny_simclr(), same))


def test_an_untrained_model_costs_about_the_logarithm_of_its_candidates(images):
    constant = keras.Input([12, 12, 1])
    same = keras.layers.Flatten()(keras.layers.Rescaling(0.0, offset=1.0)(constant))
    head_in = keras.Input([144])
    head = keras.Model(head_in, keras.layers.Dense(4, kernel_initializer="ones")(head_in))
    model = SimCLR(keras.Model(constant, same), head=head, views=VIEWS)
    model.compile("sgd")
    loss, _ = model.evaluate(images[:16], batch_size=16, verbose=0)
    assert loss == pytest.approx(np.log(2 * 16 - 1), abs=1e-5)


def test_predict_gives_representations(images):
    model = tiny_simclr()
    expected = model.encoder(images, training=False)
    batches = data.load(images).batches(10, shuffle=False)
    np.testing.assert_allclose(model.predict(batches, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(model(images), expected, atol=1e-5)


def test_predict_warns_of_wrong_rows(images):
    model, scaled = tiny_simclr(), (images / 255).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices(scaled).batch(8)
    for given in (scaled, tf.constant(scaled), dataset):
        with pytest.warns(UserWarning, match=r"have values in 0 … 1.*Give images \* 255"):
            model.predict(given, verbose=0)
    model.predict(images.astype("float32"), verbose=0)
    with pytest.warns(UserWarning, match="are shuffled.*in_order"):
        model.predict(data.load(images).batches(8), verbose=0)


def test_validation_is_reported(images):
    history = tiny_simclr().fit(
        images, batch_size=16, epochs=2, validation_data=images[:16], verbose=0
    )
    keys = {"loss", "contrastive_accuracy", "val_loss", "val_contrastive_accuracy"}
    assert keys == set(history.history)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_mixed_precision_learns(images, policy):
    model = tiny_simclr(keras.optimizers.Adam(0.01))
    loss = model.fit(images, batch_size=16, epochs=20, verbose=0).history["loss"]
    assert np.mean(loss[-5:]) < np.mean(loss[:5]) - 0.3
    assert model.loss_metric.result().dtype == tf.float32


def test_several_steps_per_execution_change_nothing(images, float64, mirrored):
    source = data.load(images)
    expected = weights_after(tiny_simclr(), source.batches(8), epochs=2)
    model = tiny_simclr()
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), steps_per_execution=2)
    assert_same(weights_after(model, source.batches(8), epochs=2), expected)
    with mirrored.scope():
        model = tiny_simclr()
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), steps_per_execution=2)
    assert_same(weights_after(model, source.batches(8), epochs=2), expected, atol=1e-9)


def test_a_loss_that_is_not_finite_ends_the_training(images):
    model = tiny_simclr()
    model.compile(keras.optimizers.SGD(float("nan")))
    with pytest.raises(FloatingPointError, match=r"became nan in epoch 1, batch 2 \(step 2"):
        model.fit(images, batch_size=8, epochs=3, verbose=0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda x: x.astype("float32") / 255, "uint8"),
        (lambda x: list(x), "received list"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x), "must come in batches"),
        (lambda x: tf.data.Dataset.from_tensor_slices(x).batch(1, True), "has no negatives"),
        (lambda x: tf.data.Dataset.from_tensors({"picture": x}), r"dictionary of \['picture'\]"),
        (lambda x: np.repeat(x, 3, axis=-1), "takes images with 1 channels; the data has 3"),
        (lambda x: x[:1], "has no negatives"),
    ],
)
def test_images_of_another_shape_are_refused_before_training(images, make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        tiny_simclr().fit(make(images), verbose=0)


def test_a_batch_that_the_replicas_do_not_divide_is_refused(images, mirrored):
    with mirrored.scope():
        model = tiny_simclr()
    with pytest.raises(ValueError, match="must be divisible by the 2 replicas; received 5"):
        model.fit(images, batch_size=5, verbose=0)


def test_other_misuse_gets_a_clear_error(images):
    with pytest.raises(ValueError, match="temperature must be a number above 0; received 0"):
        tiny_simclr(temperature=0)
    model = tiny_simclr()
    with pytest.raises(ValueError, match="brings its own batches"):
        model.fit(data.load(images).batches(8), batch_size=8)
    model.compile("sgd", loss="mse")
    with pytest.raises(ValueError, match="defines its own loss"):
        model.fit(images, batch_size=8, verbose=0)
    base = PretextModel(tiny_encoder(), views=None)
    with pytest.raises(NotImplementedError, match="must define objective"):
        base.objective({}, True)


def test_a_smaller_last_batch_counts_for_the_images_it_has(images, float64):
    model = tiny_simclr()
    batches = tf.data.Dataset.from_tensor_slices(images[:25]).batch(16)
    first, rest = (
        model.evaluate(part, verbose=0)[0] for part in (batches.take(1), batches.skip(1))
    )
    received = model.evaluate(batches, verbose=0)[0]
    assert received == pytest.approx((16 * first + 9 * rest) / 25, abs=1e-12)


def test_a_batch_of_one_image_counts_for_one_image(images, float64):
    model = tiny_simclr()
    batches = tf.data.Dataset.from_tensor_slices(images[:17]).batch(16)
    whole = model.evaluate(batches.take(1), verbose=0)[0]
    assert model.evaluate(batches, verbose=0)[0] == pytest.approx(whole * 16 / 17, abs=1e-12)


def test_callbacks_may_be_one_a_list_or_a_callback_list(images):
    stop = keras.callbacks.TerminateOnNaN()
    for callbacks in (stop, [stop], keras.callbacks.CallbackList([stop])):
        model = tiny_simclr()
        model.compile(model.optimizer, run_eagerly=True)
        model.fit(images[:8], batch_size=8, callbacks=callbacks, verbose=0)
        assert stop.model is model


def test_shuffle_is_that_of_an_array(images):
    ordered = data.load(images).batches(16, shuffle=False)
    expected = weights_after(tiny_simclr(), ordered)
    received = weights_after(tiny_simclr(), images, batch_size=16, shuffle=False)
    assert_same(received, expected, atol=1e-6)
    assert_same(weights_after(tiny_simclr(), ordered, shuffle=True), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["class_weight", "sample_weight", "y", "validation_split"])
def test_arguments_that_need_labels_or_arrays_are_refused(images, name):
    with pytest.raises(ValueError, match=f"SimCLR.fit takes no {name}"):
        tiny_simclr().fit(images, batch_size=8, verbose=0, **{name: 0.5})


def test_keras_arguments_without_meaning_here_are_refused(images):
    model, labels = tiny_simclr(), np.zeros(len(images))
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="takes no y: a pretext task weighs no labels"):
            call(images, labels)
    with pytest.raises(ValueError, match="compile takes no metrics.*KNNMonitor"):
        model.compile("sgd", metrics=["accuracy"])
    for epochs, error in ((-1, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match=f"epochs must be an int.*received {epochs}"):
            model.fit(images, epochs=epochs)
    with pytest.raises(ValueError, match="one array.*received a list. Give numpy.stack"):
        model.predict(list(images))
    with pytest.raises(TypeError, match="seed must be an int; received 'a'"):
        tiny_simclr(seed="a")
    fixed = keras.Sequential([keras.Input([16, 16, 1]), keras.layers.Flatten()])
    with pytest.raises(ValueError, match="only images of 16x16 pixels, and these views have 12x12"):
        SimCLR(fixed, views=VIEWS)


def test_predict_takes_a_source(images):
    model = tiny_simclr()
    expected = model.predict(images, verbose=0)
    np.testing.assert_array_equal(model.predict(data.load(images), verbose=0), expected)
