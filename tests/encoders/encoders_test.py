import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import encoders

# torchvision's published totals less their classifier (features · 1000 + 1000).
TORCHVISION = {
    "resnet18": (11_176_512, 512),
    "resnet34": (21_284_672, 512),
    "resnet50": (23_508_032, 2048),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_resnet_has_the_published_number_of_parameters(name):
    encoder = getattr(encoders, name)()
    trainable = sum(int(np.prod(v.shape)) for v in encoder.trainable_variables)
    assert (trainable, encoder.output_shape[-1]) == TORCHVISION[name]
    assert encoders.image_size(encoder) == 224


def test_the_small_resnet_is_small():
    encoder = encoders.small_resnet()
    assert 0.29e6 < encoder.count_params() < 0.32e6
    assert encoder.output_shape == (None, 128)


@pytest.mark.parametrize("size", [17, 32, 40])
def test_encoders_take_any_size_and_both_kinds_of_pixels(random, size):
    encoder = encoders.small_resnet(channels=3, width=0.25)
    pixels = random.integers(0, 256, [2, size, size, 3]).astype("uint8")
    as_bytes, as_floats = encoder(pixels), encoder(pixels.astype("float32"))
    assert as_bytes.shape == (2, 32)
    np.testing.assert_allclose(as_bytes, as_floats, atol=1e-6)


@pytest.mark.parametrize("size, stem_maps", [(32, 32), (96, 24)])
def test_the_stem_follows_the_image_size(size, stem_maps):
    encoder = encoders.resnet18(image_size=size, width=0.125)
    maps = keras.Model(encoder.input, encoder.get_layer("stage0_block0_2_norm").output)
    assert maps(np.zeros([1, size, size, 3], "uint8")).shape[1] == stem_maps


def test_an_unknown_stem_is_refused():
    with pytest.raises(ValueError, match="received 'large'"):
        encoders.resnet18(stem="large")


def test_strided_convolutions_pad_as_the_published_networks_do(random):
    """By hand: kernel 3, stride 2, one pixel of padding on every side."""
    encoder = encoders.small_resnet(width=0.0625)
    conv = encoder.get_layer("stem_conv")
    x = random.integers(0, 256, [1, 6, 6, 1]).astype("float32")
    maps = keras.Model(encoder.input, conv.output)(x).numpy()
    normal = np.pad((x[0, :, :, 0] - 127.5) / 64.0, 1)
    kernel = conv.kernel.numpy()[:, :, 0, :]
    for i in range(3):
        for j in range(3):
            patch = normal[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            np.testing.assert_allclose(
                maps[0, i, j], np.einsum("hw,hwo->o", patch, kernel), atol=1e-4
            )


def test_zero_init_starts_blocks_as_the_identity(random):
    encoder = encoders.resnet18(image_size=32, width=0.125, zero_init_residual=True)
    before = encoder.get_layer("stem_norm").output
    after = encoder.get_layer("stage0_block1_2_norm").output
    pixels = random.integers(0, 256, [2, 32, 32, 3]).astype("uint8")
    before, after = keras.Model(encoder.input, [before, after])(pixels)
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_preprocessing_is_exact_in_half_precision(random):
    """Fractions of 0..255 must be centered before they are rounded to half precision."""
    layer = encoders.Preprocessing([127.5], [64.0], dtype="mixed_bfloat16")
    pixels = random.uniform(120, 135, [1, 8, 8, 1]).astype("float32")
    wanted = tf.cast((pixels - 127.5) / 64.0, tf.bfloat16)
    np.testing.assert_array_equal(layer(pixels), wanted)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "ResNet50"])
def test_models_of_keras_applications_are_pooled(name):
    backbone = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=[64, 64, 3]
    )
    encoder = encoders.as_encoder(backbone)
    assert encoder.output_shape == (None, backbone.output_shape[-1])
    assert encoder(np.zeros([1, 64, 64, 3], "uint8")).shape == encoder.output_shape[:0] + (
        1,
        backbone.output_shape[-1],
    )
    assert encoders.as_encoder(encoder) is encoder
    assert encoders.image_size(encoder) == 64


class Subclassed(keras.Model):
    """A model as in many tutorials: layers as attributes, without a graph."""

    def __init__(self):
        super().__init__(name="net")
        self.conv, self.dropout = keras.layers.Conv2D(8, 3), keras.layers.Dropout(0.5)

    def call(self, images, training=False):
        return self.dropout(self.conv(images), training=training)


@pytest.mark.filterwarnings("ignore:`build..` was called:UserWarning")
@pytest.mark.parametrize("by_call", [False, True])
def test_a_subclassed_model_is_an_encoder_once_it_is_built(random, by_call):
    model, pixels = Subclassed(), random.integers(0, 256, [4, 16, 16, 3]).astype("uint8")
    with pytest.raises(ValueError, match="'net' has input shape None"):
        encoders.as_encoder(model)
    if by_call:
        model(pixels.astype("float32"))
    else:
        model.build((None, 16, 16, 3))
    encoder = encoders.as_encoder(model)
    assert encoder.output_shape == (None, 8) and encoders.image_size(encoder) == 16
    expected = model.conv(pixels.astype("float32")).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(encoder(pixels), expected, rtol=1e-4, atol=1e-3)
    dropped = encoder(pixels, training=True).numpy()
    assert np.abs(dropped - expected).max() > 1e-2, "training reaches the model"


def outputs_a_map_of_text():
    x = keras.Input([8, 8, 3])
    return keras.Model(x, keras.layers.Reshape([8, 24])(x))


def outputs_two_vectors():
    x = keras.Input([8, 8, 3])
    y = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(x, [y, y])


def preprocesses_and_outputs_two_vectors():
    encoder = encoders.small_resnet(width=0.0625)
    return keras.Model(encoder.input, [encoder.output, encoder.output])


def takes_vectors():
    x = keras.Input([8])
    return keras.Model(x, keras.layers.Dense(2)(x))


@pytest.mark.parametrize(
    "model, message",
    [
        (outputs_a_map_of_text, r"must give one vector .* gives \[\(None, 8, 24\)\]"),
        (outputs_two_vectors, r"gives \[\(None, 3\), \(None, 3\)\]"),
        (preprocesses_and_outputs_two_vectors, r"gives \[\(None, 8\), \(None, 8\)\]"),
        (takes_vectors, r"must take one batch of images .* input shape \(None, 8\)"),
        (lambda: keras.Sequential([keras.layers.Flatten()]), "and be built"),
    ],
)
def test_a_model_that_is_not_an_encoder_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        encoders.as_encoder(model())


def test_something_else_is_refused():
    with pytest.raises(TypeError, match="received str"):
        encoders.as_encoder("resnet18")


def test_encoders_survive_saving_and_loading(tmp_path, random):
    encoder = encoders.small_resnet(width=0.25)
    encoder.save(tmp_path / "encoder.keras")
    again = keras.models.load_model(tmp_path / "encoder.keras")
    pixels = random.integers(0, 256, [3, 28, 28, 1]).astype("uint8")
    np.testing.assert_array_equal(encoder(pixels), again(pixels))
    assert encoders.image_size(again) == 28
