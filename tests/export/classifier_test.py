"""The signature `classify`, and the heads that it takes."""

import json

import keras
import numpy as np
import pytest

from cl_keras import export
from tests.export.serving import SIDE, TOLERANCE, random_images, serve, tiny_encoder


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


def test_classify_with_kernel_and_bias(encoder, tmp_path):
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=[6, 3]) * 20, rng.normal(size=3)
    names = ["Schuh", "Tasche", "Häubchen"]
    version = export.saved_model(encoder, tmp_path, head=(kernel, bias), class_names=names)
    images = random_images(8)
    logits = np.asarray(encoder(images, training=False), np.float64) @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities = serve(version, "classify", "probabilities", images=images)
    np.testing.assert_allclose(probabilities, expected, atol=1e-4)
    best = serve(version, "classify", "class_ids", images=images)
    np.testing.assert_array_equal(best, expected.argmax(axis=1))
    served = serve(version, "classify", "classes", images=images)
    assert [name.decode() for name in served] == [names[i] for i in best]
    written = (version / "assets.extra/classes.json").read_text(encoding="utf-8")
    assert json.loads(written) == names


def test_classify_with_a_keras_model_and_no_names(encoder, tmp_path):
    head = keras.Sequential([keras.Input([6]), keras.layers.Dense(4)])
    version = export.saved_model(encoder, tmp_path, head=head)
    images = random_images(5)
    logits = head(encoder(images, training=False))
    np.testing.assert_allclose(
        serve(version, "classify", "probabilities", images=images),
        keras.ops.softmax(logits),
        atol=TOLERANCE,
    )
    best = [str(i) for i in np.argmax(logits, axis=1)]
    assert [c.decode() for c in serve(version, "classify", "classes", images=images)] == best
    nothing = np.zeros([0, SIDE, SIDE, 3], np.uint8)
    assert serve(version, "classify", "probabilities", images=nothing).shape == (0, 4)


@pytest.mark.parametrize(
    "head, message",
    [
        ((np.ones([5, 2]), np.zeros(2)), r"kernel \[6, classes\].*\(5, 2\) and \(2,\)"),
        ((np.ones([6, 2]), np.zeros(3)), r"received shapes \(6, 2\) and \(3,\)"),
        ("linear", "head must be .kernel"),
        (keras.Sequential([keras.Input([7]), keras.layers.Dense(2)]), "embeddings of width 6"),
        (keras.layers.Dense(2), r"head must be built; call it on vectors \[b, 6\]"),
        (keras.layers.Dense(2, activation="softmax"), "head must give logits"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(encoder, tmp_path, head, message):
    with pytest.raises(ValueError, match=message):
        export.saved_model(encoder, tmp_path, head=head)
    assert not list(tmp_path.iterdir())


def test_a_head_must_be_finite_and_its_names_differ(encoder, tmp_path):
    width = encoder.output_shape[-1]
    kernel, bias = np.zeros([width, 2]), np.zeros(2)
    with pytest.raises(ValueError, match="head must be finite"):
        export.saved_model(encoder, tmp_path, head=(kernel, bias + np.nan))
    with pytest.raises(ValueError, match="class_names must differ; received .'a', 'a'."):
        export.saved_model(encoder, tmp_path, head=(kernel, bias), class_names=["a", "a"])


def test_class_names_must_fit(encoder, tmp_path):
    head = (np.ones([6, 2]), np.zeros(2))
    with pytest.raises(ValueError, match="name the 2 classes of the head; received 3"):
        export.saved_model(encoder, tmp_path, head=head, class_names=["a", "b", "c"])
    with pytest.raises(ValueError, match="give head too"):
        export.saved_model(encoder, tmp_path, class_names=["a", "b"])
