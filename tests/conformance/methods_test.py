"""Generic tests that every method must pass."""

import json
from itertools import product
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data, export, methods
from cl_keras.runs import Checkpoints
from cl_keras.training import PretextModel
from tests.conformance import toy_method
from tests.conformance.descriptors import EVERY_METHOD, LABELS, OPTIONS, make, method_of
from tests.conformance.replicas import images, state
from tests.quick import slow_but

POLICIES = ("mixed_bfloat16", "mixed_float16")


def every_method(quick):
    """Runs a test for every method and variant; those that are not in `quick` are slow."""
    return pytest.mark.parametrize("name", slow_but(quick, OPTIONS))


@pytest.fixture(scope="module")
def source():
    return data.load(images(), labels=LABELS)


def fit(model, source, **options):
    return model.fit(source.batches(16, seed=2), verbose=0, **options).history["loss"]


def assert_same(received, expected, atol=0.0):
    for a, b in zip(received, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol, err_msg=a.path)


def test_every_public_method_is_in_the_list():
    assert set(map(method_of, OPTIONS)) == {*methods.__all__, "ToyMethod"}


def test_a_new_method_is_one_short_file():
    lines = Path(toy_method.__file__).read_text().splitlines()
    assert len(lines) < 60
    own = set(vars(toy_method.ToyMethod))
    assert own & set(vars(PretextModel)) <= {
        *("__doc__", "__init__", "__module__", "objective", "after_step", "get_config")
    }


@every_method(quick=OPTIONS)
def test_a_gradient_reaches_what_is_trained_and_nothing_else(name, source):
    model = make(name)
    element = next(iter(source.batches(16)))
    batch = model.make_batch(element, seed=0, step=0)
    with tf.GradientTape() as tape:
        loss = model.objective(batch, training=True).loss
    gradients = tape.gradient(loss, [v.value for v in model.variables])
    reached = [
        v.path
        for v, gradient in zip(model.variables, gradients, strict=True)
        if gradient is not None
    ]
    assert reached == [v.path for v in model.variables if v.trainable]


@every_method(quick=EVERY_METHOD)
def test_it_trains_evaluates_and_is_saved_completely(name, source, tmp_path):
    model = make(name)
    before = [v.numpy() for v in model.trainable_variables]
    fit(model, source)
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert np.abs(old - variable.numpy()).max() > 0, variable.path

    before = [v.numpy() for v in state(model)]
    measured = model.evaluate(source, batch_size=16, return_dict=True, verbose=0)
    assert set(measured) == {metric.name for metric in model.metrics}
    assert np.isfinite(measured["loss"])
    assert measured == model.evaluate(source, batch_size=16, return_dict=True, verbose=0)
    assert_same(state(model), before)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())
    assert_same(state(loaded), state(model))


@every_method(quick=["SwAV", "PCL"])
def test_it_resumes_from_its_files(name, source, tmp_path):
    """A .keras file and a checkpoint both continue like the model itself, bit for bit."""
    model = make(name)
    fit(model, source)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    checkpoints, restored = Checkpoints(tmp_path), make(name)
    checkpoints.save(model, 1)
    assert checkpoints.restore(restored).epoch == 1
    for each in (model, loaded, restored):
        fit(each, source, initial_epoch=1, epochs=2)
    assert_same(state(loaded), state(model))
    assert_same(state(restored), state(model))


@pytest.mark.parametrize(
    "name, policy",
    slow_but(
        [
            *product(EVERY_METHOD, POLICIES[:1]),
            ("SwAV", "mixed_float16"),
            ("MoCo", "mixed_float16"),
        ],
        product(OPTIONS, POLICIES),
    ),
    indirect=["policy"],
)
def test_mixed_precision_stays_finite(name, source, policy):
    model = make(name)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    assert np.isfinite(fit(model, source)).all()
    for variable in state(model):
        assert np.all(np.isfinite(variable.numpy().astype("float32"))), variable.path
    assert model.loss_metric.result().dtype == tf.float32


@every_method(quick=[])
def test_a_step_compiled_by_xla_is_the_same_step(name, source):
    """`jit_compile=True` against single operations on a CPU; on a GPU it is the default."""
    received, expected = make(name), make(name)
    received.compile(keras.optimizers.SGD(0.05, momentum=0.9), jit_compile=True)
    expected.compile(keras.optimizers.SGD(0.05, momentum=0.9), run_eagerly=True)
    for model in (received, expected):  # from images: the views are compiled too
        model.fit(source.batches(16, seed=2), steps_per_epoch=2, verbose=0)
    assert_same(state(received), state(expected), atol=1e-4)


@every_method(quick=["SimCLR", "CPC", "TwoTower"])
def test_its_encoder_predicts_and_is_exported_by_itself(name, source, tmp_path):
    model = make(name)
    pixels = source.images(range(5))
    expected = model.predict(pixels, verbose=0)
    assert expected.shape == (5, 16)
    path = export.saved_model(model, tmp_path)
    served = tf.saved_model.load(str(path))
    received = served.signatures["serving_default"](images=tf.constant(pixels))["embedding"]
    np.testing.assert_allclose(received, expected, atol=1e-5)
    exported = sum(int(np.prod(v.shape)) for v in served.variables)
    assert exported == model.encoder.count_params()
