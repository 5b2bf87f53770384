"""A classifier of several patches."""

import keras


def joint_classifier(
    input_dim: int,
    *,
    num_patches: int,
    num_classes: int,
    hidden_dim: int | None = None,
    name: str = "joint_classifier",
) -> keras.Model:
    """A classifier of the concatenated representations of patches, with a hidden layer.

    This is the late fusion of Doersch et al. 2015 and Noroozi & Favaro 2016.

    Args:
        input_dim: width of the representation of a patch.
        num_patches: number of patches.
        num_classes: number of classes.
        hidden_dim: width of the hidden layer; default: `2 · input_dim`.

    Returns:
        A `keras.Model` from `[b, num_patches, input_dim]` to logits `[b, num_classes]`.
    """
    inputs = keras.Input([num_patches, input_dim])
    x = keras.layers.Flatten(name="side_by_side")(inputs)
    x = keras.layers.Dense(hidden_dim or 2 * input_dim, activation="relu", name="hidden")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x), name=name)
