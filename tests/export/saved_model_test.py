"""A served encoder gives the same results as the Keras model."""

import io
import os
import resource
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cl_keras import encoders, export, methods, views
from cl_keras.data import pixels
from tests.export.image_forms import FORMS, REFUSED
from tests.export.serving import (
    SIDE,
    TOLERANCE,
    encoded,
    load,
    random_images,
    serve,
    smooth_image,
    tiny_encoder,
)


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


@pytest.fixture(scope="module")
def version(encoder, tmp_path_factory):
    """The tiny encoder, exported for images of SIDE pixels."""
    return export.saved_model(encoder, tmp_path_factory.mktemp("export"), image_size=SIDE)


@pytest.fixture(scope="module")
def any_size(encoder, tmp_path_factory):
    """The tiny encoder, exported for images of any size."""
    return export.saved_model(encoder, tmp_path_factory.mktemp("export"))


def test_serves_what_keras_computes(encoder, version):
    images = random_images(4)
    expected = encoder(images, training=False)
    np.testing.assert_allclose(serve(version, images=images), expected, atol=TOLERANCE)


def test_a_second_export_leaves_the_first_as_it_is(encoder, tmp_path):
    first = export.saved_model(encoder, tmp_path)
    files = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    second = export.saved_model(encoder, tmp_path)
    assert (first, second) == (tmp_path / "1", tmp_path / "2")
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == files
    names = [{path.relative_to(v) for path in v.rglob("*")} for v in (first, second)]
    assert names[0] == names[1]


def test_a_row_does_not_depend_on_its_batch_mates(version):
    images = random_images(5)
    together = serve(version, images=images)
    alone = np.concatenate([serve(version, images=images[i : i + 1]) for i in range(5)])
    with_others = serve(version, images=np.concatenate([images[:1], random_images(9, seed=3)]))
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together[0], with_others[0], atol=1e-6)


def test_signatures_are_named_and_typed(version):
    loaded = load(str(version))
    assert set(loaded.signatures) == {"serving_default", "serve_bytes"}
    images = loaded.signatures["serving_default"].structured_input_signature[1]
    assert images == {"images": tf.TensorSpec([None] * 4, tf.uint8, "images")}
    encoded = loaded.signatures["serve_bytes"].structured_input_signature[1]
    assert encoded == {"bytes": tf.TensorSpec([None], tf.string, "bytes")}
    outputs = {
        name: {key: value.dtype for key, value in signature.structured_outputs.items()}
        for name, signature in loaded.signatures.items()
    }
    assert outputs["serving_default"] == {"embedding": tf.float32}
    assert outputs["serve_bytes"] == {"embedding": tf.float32, "error": tf.string}


@pytest.mark.parametrize("height, width", [(40, 40), (40, 23), (17, 64), (9, 12)])
def test_other_sizes_are_fitted_as_the_data_layer_does(encoder, version, height, width):
    image = smooth_image(height, width)
    expected = encoder(pixels.fit(image, image_size=SIDE)[None], training=False)
    np.testing.assert_allclose(serve(version, images=image[None]), expected, atol=TOLERANCE)


def test_bytes_of_a_png_are_its_array(version):
    images = random_images(3)
    contents = [encoded(image) for image in images]
    np.testing.assert_array_equal(
        serve(version, "serve_bytes", bytes=contents), serve(version, images=images)
    )


def test_bytes_of_many_sizes_and_formats_in_one_request(version):
    large, wide = smooth_image(50, 60), smooth_image(20, 44, seed=1)
    contents = [encoded(large), encoded(wide, "JPEG"), encoded(wide, "BMP"), encoded(large, "GIF")]
    expected = [pixels.decode(io.BytesIO(c)) for c in contents]
    rows = np.concatenate([serve(version, images=image[None]) for image in expected])
    np.testing.assert_allclose(serve(version, "serve_bytes", bytes=contents), rows, atol=TOLERANCE)


BAD = {
    "cut": FORMS["JPEG"][:700],
    "animated, of a small frame": REFUSED["WebP with a small frame"],
    "huge": REFUSED["a huge PNG"],
    "text": b"hello",
    "empty": b"",
    "tiff": encoded(smooth_image(20, 20), "TIFF"),
}


@pytest.mark.parametrize("side", [SIDE, None])
def test_a_bad_image_fails_alone(version, any_size, side):
    version = version if side else any_size
    good = [encoded(smooth_image(20 + i, 30, seed=i)) for i in range(len(BAD) + 1)]
    mixed = [good[0]]
    for bad, image in zip(BAD.values(), good[1:], strict=True):
        mixed += [bad, image]
    rows = serve(version, "serve_bytes", bytes=np.array(mixed, object))
    errors = serve(version, "serve_bytes", "error", bytes=np.array(mixed, object))
    np.testing.assert_array_equal(
        rows[::2], serve(version, "serve_bytes", bytes=np.array(good, object))
    )
    assert (errors[::2] == b"").all() and np.isnan(rows[1::2]).all()
    words = ["damaged or cut off", "animated WebP", "25,000,000", "not a JPEG", "empty", "TIFF"]
    for error, word in zip(errors[1::2], words, strict=True):
        assert word in error.decode()


def test_an_animated_webp_is_its_first_frame(version):
    contents = FORMS["WebP animated"]
    image = pixels.decode(io.BytesIO(contents))
    for _ in range(5):
        row = serve(version, "serve_bytes", bytes=[contents])
        np.testing.assert_allclose(row, serve(version, images=image[None]), atol=TOLERANCE)


def test_many_requests_with_a_tenth_bad_need_no_more_memory(version):
    """Mixed sizes, including damaged and huge images; every good row is right."""
    good = [encoded(smooth_image(20 + 7 * i, 90 - 5 * i, seed=i), "JPEG") for i in range(9)]
    expected = serve(version, "serve_bytes", bytes=np.array(good, object))
    bad = list(BAD.values())
    before = None
    for request in range(40):
        rows = [*good, bad[request % len(bad)]]
        order = np.random.default_rng(request).permutation(10)
        received = serve(version, "serve_bytes", bytes=np.array(rows, object)[order])
        np.testing.assert_array_equal(received[np.argsort(order)][:9], expected)
        assert np.isnan(received[np.argsort(order)][9]).all()
        if request == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_an_empty_batch_gives_an_empty_result(version, any_size):
    nothing = np.zeros([0, SIDE, SIDE, 3], np.uint8)
    assert serve(version, images=nothing).shape == (0, 6)
    assert serve(version, images=np.zeros([0, 30, 20, 3], np.uint8)).shape == (0, 6)
    assert serve(version, "serve_bytes", bytes=np.array([], "S1")).shape == (0, 6)
    assert serve(any_size, "serve_bytes", bytes=np.array([], "S1")).shape == (0, 6)


def test_without_a_fixed_size_images_pass_unchanged(encoder, any_size):
    images = [smooth_image(31, 18), smooth_image(20, 20, seed=1)]
    expected = np.concatenate([encoder(image[None]) for image in images])
    for image, row in zip(images, expected, strict=True):
        np.testing.assert_allclose(serve(any_size, images=image[None])[0], row, atol=TOLERANCE)
    contents = [encoded(image) for image in images]
    np.testing.assert_allclose(
        serve(any_size, "serve_bytes", bytes=contents), expected, atol=TOLERANCE
    )


def test_the_size_of_a_fixed_input_is_used(tmp_path):
    version = export.saved_model(tiny_encoder(side=SIDE), tmp_path)
    image = smooth_image(30, 41)
    expected = serve(version, images=pixels.fit_tensor(tf.constant(image), image_size=SIDE)[None])
    np.testing.assert_allclose(serve(version, images=image[None]), expected, atol=TOLERANCE)


def test_gray_encoders_take_color_files(tmp_path):
    encoder = tiny_encoder(channels=1)
    version = export.saved_model(encoder, tmp_path, image_size=SIDE)
    color, gray = smooth_image(SIDE, SIDE), random_images(1, channels=1)[0, ..., 0]
    expected = np.stack([np.asarray(Image.fromarray(color).convert("L")), gray])[..., None]
    np.testing.assert_allclose(
        serve(version, "serve_bytes", bytes=[encoded(color), encoded(gray)]),
        encoder(expected),
        atol=TOLERANCE,
    )


def test_serving_never_changes_the_variables(tmp_path):
    # Keras' own resizing puts the layers behind it into training mode where nobody says otherwise.
    leaky = tiny_encoder(extra=[keras.layers.Resizing(SIDE, SIDE), keras.layers.RandomFlip()])
    version = export.saved_model(leaky, tmp_path, head=(np.ones([6, 2]), np.zeros(2)))
    loaded = load(str(version))
    before = [v.numpy() for v in loaded.variables]
    images = random_images(8, 20, 20)
    first = loaded.signatures["serving_default"](images=tf.constant(images))["embedding"]
    loaded.signatures["serve_bytes"](bytes=tf.constant([encoded(image) for image in images]))
    loaded.signatures["classify"](images=tf.constant(images))
    again = loaded.signatures["serving_default"](images=tf.constant(images))["embedding"]
    assert len(before) >= 8
    for old, new in zip(before, loaded.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, leaky(images, training=False), atol=TOLERANCE)


def test_mixed_precision_serves_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = tiny_encoder()
    finally:
        keras.config.set_dtype_policy("float32")
    version = export.saved_model(encoder, tmp_path)
    images = random_images(3)
    served = serve(version, images=images)
    assert served.dtype == np.float32
    np.testing.assert_array_equal(served, tf.cast(encoder(images, training=False), tf.float32))


def test_a_contrastive_model_exports_its_encoder_alone(tmp_path):
    encoder = encoders.small_resnet(width=0.25)
    model = methods.SimCLR(encoder, views=views.simclr(20, channels=1), temperature=0.2)
    version = export.saved_model(model, tmp_path)
    images = random_images(3, 28, 28, channels=1)
    loaded = load(str(version))
    served = loaded.signatures["serving_default"](images=tf.constant(images))["embedding"]
    np.testing.assert_allclose(served, model.predict(images, verbose=0), atol=TOLERANCE)
    exported = sum(int(tf.size(v)) for v in loaded.variables)
    assert exported == encoder.count_params() < model.count_params()


def test_the_size_is_that_of_the_encoder_not_of_the_views(tmp_path):
    """Views may be patches of the image, but whole images are served."""
    encoder = encoders.small_resnet(width=0.25, image_size=SIDE)
    model = methods.SimCLR(encoder, views=views.simclr(12, channels=1), temperature=0.2)
    version = export.saved_model(model, tmp_path)
    large = smooth_image(40, 50)[..., :1]
    fitted = pixels.fit(large, image_size=SIDE, channels=1)[None]
    np.testing.assert_allclose(
        serve(version, images=large[None]), encoder(fitted, training=False), atol=TOLERANCE
    )


def test_an_encoder_of_a_strategy_is_exported_as_one(mirrored, tmp_path):
    with mirrored.scope():
        encoder = tiny_encoder()
    version = export.saved_model(encoder, tmp_path)
    assert len(load(str(version)).variables) == len(encoder.variables)
    images = random_images(3)
    expected = tiny_encoder()(images, training=False)
    np.testing.assert_allclose(serve(version, images=images), expected, atol=TOLERANCE)


# What cannot be exported.


def test_something_other_than_a_model_is_refused(tmp_path):
    with pytest.raises(TypeError, match="must be a keras.Model.*received function"):
        export.saved_model(lambda x: x, tmp_path)


def test_a_model_without_a_vector_is_refused(tmp_path):
    inputs = keras.Input([8, 8, 3])
    flat = keras.layers.Reshape([64, 3])(inputs)
    with pytest.raises(ValueError, match=r"must give one vector \[b, d\]"):
        export.saved_model(keras.Model(inputs, flat), tmp_path)


def test_other_channels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="1 or 3 channels can be exported; 'tiny' takes 4"):
        export.saved_model(tiny_encoder(channels=4), tmp_path)


def test_a_size_that_the_encoder_cannot_take_is_refused(tmp_path):
    with pytest.raises(ValueError, match="images of 16x16 pixels; received 20"):
        export.saved_model(tiny_encoder(side=16), tmp_path, image_size=20)
    for size in (0, 100_000):
        with pytest.raises(ValueError, match=f"from 1 to 4096 pixels; received {size}"):
            export.saved_model(tiny_encoder(), tmp_path, image_size=size)
    for other in (2.5, True):
        with pytest.raises(TypeError, match=f"must be an int.*received {other}"):
            export.saved_model(tiny_encoder(), tmp_path, image_size=other)
    version = export.saved_model(tiny_encoder(), tmp_path, image_size=np.int64(SIDE))
    assert serve(version, images=random_images(1)).shape == (1, 6)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels_are_explained(channels, version):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        serve(version, images=random_images(1, channels=channels))
    assert "must be uint8 [batch, height, width, 3]" in str(error.value)
    assert f"Channels received:] [{channels}]" in str(error.value)


# Elsewhere.


def test_loading_needs_no_keras_and_accepts_an_empty_batch(encoder, version, tmp_path):
    images = random_images(2, 20, 30)
    np.save(tmp_path / "images.npy", images)
    script = f"""
        import sys
        sys.modules["keras"] = sys.modules["tf_keras"] = None    # importing them fails
        import numpy as np
        import tensorflow as tf
        serve = tf.saved_model.load({str(version)!r}).signatures["serving_default"]
        images = tf.constant(np.load("images.npy"))
        np.save("out.npy", serve(images=images)["embedding"])
        assert serve(images=images[:0])["embedding"].shape == (0, 6)
    """
    # oneDNN, not on everywhere by itself, is what crashes on an empty batch without our care.
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    np.testing.assert_allclose(
        np.load(tmp_path / "out.npy"), serve(version, images=images), atol=TOLERANCE
    )
