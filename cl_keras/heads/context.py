"""The context network of CPC, which summarizes the rows above each position."""

import keras


def context_network(
    width: int, *, layers: int = 5, hidden_dim: int = 256, name: str = "context_network"
) -> keras.Model:
    """A masked convolutional network, in which each position sees its own row and those above it.

    Residual blocks of 1×1, 1×3, 2×1 (padded above) and 1×1 convolutions; Hénaff et al. 2020,
    appendix.

    Args:
        width: number of channels of the grid.
        layers: number of blocks; default: 5.
        hidden_dim: number of channels inside the blocks; default: 256.

    Returns:
        A `keras.Model` from `[b, rows, columns, width]` to the same shape.
    """
    inputs = x = keras.Input([None, None, width])
    for layer in range(layers):
        h = keras.layers.Conv2D(hidden_dim, 1, activation="relu", name=f"block{layer}_in")(x)
        h = keras.layers.Conv2D(hidden_dim, (1, 3), padding="same", name=f"block{layer}_row")(h)
        h = keras.layers.ZeroPadding2D(((1, 0), (0, 0)), name=f"block{layer}_pad")(h)
        h = keras.layers.Conv2D(hidden_dim, (2, 1), activation="relu", name=f"block{layer}_up")(h)
        h = keras.layers.Conv2D(width, 1, name=f"block{layer}_out")(h)
        x = keras.layers.Add(name=f"block{layer}_add")([x, h])
    return keras.Model(inputs, keras.layers.ReLU(name="relu")(x), name=name)
