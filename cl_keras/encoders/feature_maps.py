"""The feature maps inside an encoder, before they are pooled."""

import keras
import tensorflow as tf


class FeatureMaps:
    """An encoder that also returns its feature maps.

    It shares the layers of the encoder and is not a layer itself, so a model that has one does not
    have the encoder's variables twice.

    Args:
        encoder: a functional `keras.Model` from images to vectors.
        at: names of layers whose outputs are maps, or prefixes, which mean the last such layer:
            `"stage2"` is the output of the third stage of a ResNet; default: None, the map that is
            pooled into the vector.

    Raises:
        ValueError: for a name that matches no layer with a map.
    """

    def __init__(self, encoder: keras.Model, at: tuple[str, ...] | None = None):
        maps = _maps(encoder)
        names = [list(maps)[-1]] if at is None else [_last_with(name, maps, encoder) for name in at]
        # In a list, which hides the layers from Keras.
        self._models = [keras.Model(encoder.input, [*map(maps.get, names), encoder.output])]
        self.names = tuple(names)

    def __call__(self, images: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        """The maps `[b, h, w, c]`, in the order of `at`, followed by the vector `[b, d]`."""
        [model] = self._models
        return model(images, training=training)

    def shapes(self, image_size: int) -> list[tuple[int, ...]]:
        """(height, width, channels) of each map, for square images of this size."""
        [model] = self._models
        channels = model.input_shape[-1]
        shapes = model.compute_output_shape((None, image_size, image_size, channels))
        return [tuple(shape[1:]) for shape in shapes[:-1]]


def feature_map(encoder: keras.Model, at: tuple[str, ...] | str | None = None) -> FeatureMaps:
    """`FeatureMaps` of an encoder; `at` may be a single name."""
    return FeatureMaps(encoder, (at,) if isinstance(at, str) else at)


def _maps(encoder):
    """All maps `[b, h, w, c]` of an encoder by the names of their layers, the pooled one last."""
    own = [layer for layer in encoder.layers if not isinstance(layer, keras.Model)]
    maps = {layer.name: layer.output for layer in own if _is_map(layer.output)}
    pooled = [layer.input for layer in own if _is_map(layer.input) and _is_vector(layer.output)]
    return maps | ({"pooled": pooled[-1]} if pooled else {})


def _is_map(tensor):
    return isinstance(tensor, keras.KerasTensor) and len(tensor.shape) == 4


def _is_vector(tensor):
    return isinstance(tensor, keras.KerasTensor) and len(tensor.shape) == 2


def _last_with(name, maps, encoder):
    found = [each for each in maps if each == name or each.startswith(f"{name}_")]
    if found:
        return found[-1]
    stages = sorted({each.partition("_")[0] for each in maps})
    raise ValueError(
        f"at must be names, or prefixes of names, of layers of the encoder {encoder.name!r} that "
        f"give a map, such as {stages[-3:]}; received {name!r}."
    )
