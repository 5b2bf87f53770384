"""Turns any Keras model into an encoder."""

import keras
import tensorflow as tf

from cl_keras.encoders.preprocessing import Preprocessing


@keras.saving.register_keras_serializable("cl_keras")
class ToFloat(keras.layers.Layer):
    """Casts images to the compute dtype; values stay in 0..255."""

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.built = True

    def call(self, images):
        return tf.cast(images, self.compute_dtype)

    def compute_output_spec(self, images):
        return keras.KerasTensor(images.shape, dtype=self.compute_dtype)


def as_encoder(model: keras.Model) -> keras.Model:
    """Turns a model into an encoder from images, uint8 or float in 0..255, to one vector each.

    Encoders of this package, or from this function, are returned unchanged. Other models get a cast
    in front (their own preprocessing must be part of them, and take 0..255), and average pooling at
    the end if they give a map `[b, h, w, d]`.

    Args:
        model: a built `keras.Model` with one image input and one output, such as a backbone of
            `keras.applications` with `include_top=False`, or your own subclass.

    Returns:
        A `keras.Model` from `[b, h, w, c]` to `[b, d]`.

    Raises:
        TypeError: if it is not a `keras.Model`.
        ValueError: if it does not take images, or does not give a vector or a map.
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
            "encoder must give one vector [b, d], or one map [b, h, w, d] that can be pooled; "
            f"{model.name!r} gives {_shapes(x)}. Remove its head, or wrap it in a keras.Model that "
            "returns the vector."
        )
    return keras.Model(inputs, x, name=model.name)


def image_size(encoder: keras.Model) -> int | None:
    """Side in pixels of the images for which an encoder is meant, or None if unknown."""
    layer = _first_layer(encoder, Preprocessing)
    if layer:
        return layer.image_size
    height, width = encoder.input_shape[1:3]
    return height if height == width else None


def _is_vector(outputs):
    """Whether there is a single output, of shape `[b, d]` with known d."""
    return len(outputs) == 1 and len(outputs[0].shape) == 2 and outputs[0].shape[1] is not None


def _first_layer(model, kinds):
    return next((layer for layer in model.layers if isinstance(layer, kinds)), None)


def _image_shape(model):
    shape = _input_shape(model)
    if isinstance(shape, tuple | list) and len(shape) == 4:
        return tuple(shape)
    raise ValueError(
        "encoder must take one batch of images [b, h, w, c] and be built: "
        f"{model.name!r} has input shape {shape}. Give it a keras.Input([height, width, "
        "channels]), or call model.build([None, height, width, channels])."
    )


def _input_shape(model):
    """The input shape of a functional model, or that with which another model was built."""
    try:
        return model.input_shape
    except AttributeError:
        config = model.get_build_config() or {}
    shapes = [config.get("input_shape"), *config.get("shapes_dict", {}).values()]
    return next((shape for shape in shapes if shape is not None), None)


def _shapes(outputs):
    return [tuple(x.shape) for x in keras.tree.flatten(outputs)]
