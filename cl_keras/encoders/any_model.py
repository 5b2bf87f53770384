"""Any Keras model as an encoder: from images to a vector, or a clear word why not."""

import keras
import tensorflow as tf

from cl_keras.encoders.preprocessing import Preprocessing


@keras.saving.register_keras_serializable("cl_keras")
class ToFloat(keras.layers.Layer):
    """Images to the compute dtype; values stay in 0..255."""

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.built = True

    def call(self, images):
        return tf.cast(images, self.compute_dtype)

    def compute_output_spec(self, images):
        return keras.KerasTensor(images.shape, dtype=self.compute_dtype)


def as_encoder(model):
    """`model` as an encoder: images, uint8 or float in 0..255, to one vector each.

    A model of this package, or one that was made by this function, comes back as it is. Any other
    gets a cast before it (its own preprocessing must be inside it, and start from 0..255), and
    average pooling behind it if it gives a map `[B, H, W, D]`.

    Args:
        model: a built `keras.Model` with one image input and one output, such as a backbone of
            `keras.applications` with `include_top=False`.

    Returns:
        A `keras.Model` from `[B, H, W, C]` to `[B, D]`.

    Raises:
        TypeError: if it is no `keras.Model`.
        ValueError: if it takes no images, or gives neither a vector nor a map.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "encoder must be a keras.Model from images to vectors; received "
            f"{type(model).__name__}."
        )
    image_shape = _image_shape(model)
    if _first_layer(model, (Preprocessing, ToFloat)) and _is_vector(model.outputs):
        return model
    inputs = keras.Input(image_shape[1:], name="images")
    x = model(ToFloat(name="to_float")(inputs))
    if isinstance(x, keras.KerasTensor) and len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    if not _is_vector(keras.tree.flatten(x)):
        raise ValueError(
            "encoder must give one vector [B, D], or one map [B, H, W, D] that can be pooled; "
            f"{model.name!r} gives {_shapes(x)}. Cut it before its head, or wrap it in a "
            "keras.Model that returns the vector."
        )
    return keras.Model(inputs, x, name=model.name)


def image_size(encoder):
    """Side in pixels of the images that an encoder is meant for, or None if it does not say."""
    layer = _first_layer(encoder, Preprocessing)
    if layer:
        return layer.image_size
    height, width = encoder.input_shape[1:3]
    return height if height == width else None


def _is_vector(outputs):
    """Whether there is one output, of shape [B, D] with a known D."""
    return len(outputs) == 1 and len(outputs[0].shape) == 2 and outputs[0].shape[1] is not None


def _first_layer(model, kinds):
    return next((layer for layer in model.layers if isinstance(layer, kinds)), None)


def _image_shape(model):
    try:
        shape = model.input_shape
    except AttributeError:
        shape = None
    if isinstance(shape, tuple) and len(shape) == 4:
        return shape
    raise ValueError(
        "encoder must take one batch of images [B, H, W, C], and be built: "
        f"{model.name!r} has input shape {shape}. Give it a keras.Input([height, width, "
        "channels]), or call model.build([None, height, width, channels])."
    )


def _shapes(outputs):
    return [tuple(x.shape) for x in keras.tree.flatten(outputs)]
