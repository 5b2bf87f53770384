"""The maps inside an encoder: where its vector was made of places."""

import keras
import tensorflow as tf


class FeatureMaps:
    """An encoder that also gives the feature maps that it passes through.

    It shares the layers of the encoder and is no layer itself: a model that holds one has the
    encoder's variables once.

    Args:
        encoder: a functional `keras.Model` from images to vectors.
        at: names of layers whose output is a map, or prefixes of names, which stand for the last
            such layer: `"stage2"` is the output of the third stage of a ResNet. Default: the map
            that is pooled into the vector.

    Raises:
        ValueError: for a name that fits no layer with a map.
    """

    def __init__(self, encoder: keras.Model, at: tuple[str, ...] | None = None):
        maps = _maps(encoder)
        names = [list(maps)[-1]] if at is None else [_last_with(name, maps, encoder) for name in at]
        # In a list, so that Keras does not see a layer in it.
        self._models = [keras.Model(encoder.input, [*map(maps.get, names), encoder.output])]
        self.names = tuple(names)

    def __call__(self, images, training: bool = False) -> list[tf.Tensor]:
        """The maps `[b, h, w, c]`, in the order of `at`, and last the vector `[b, d]`."""
        [model] = self._models
        return model(images, training=training)

    def shapes(self, image_size: int) -> list[tuple[int, ...]]:
        """Height, width and channels of each map, for images of a side in pixels."""
        [model] = self._models
        channels = model.input_shape[-1]
        shapes = model.compute_output_shape((None, image_size, image_size, channels))
        return [tuple(shape[1:]) for shape in shapes[:-1]]


def feature_map(encoder: keras.Model, at: tuple[str, ...] | str | None = None) -> FeatureMaps:
    """`FeatureMaps` of an encoder; `at` may be a single name."""
    return FeatureMaps(encoder, (at,) if isinstance(at, str) else at)


def _maps(encoder):
    """Every map `[b, h, w, c]` of an encoder by the name of its layer, the pooled one last."""
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
        f"at must name layers of the encoder {encoder.name!r} that give a map, or begin their "
        f"names, such as {stages[-3:]}; received {name!r}."
    )
