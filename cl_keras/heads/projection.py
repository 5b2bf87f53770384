"""Projection heads, which turn representations into the vectors that losses compare."""

import keras

from cl_keras.encoders.batch_norm import BatchNormalization

LAST_NORMS = ("no_offset", "plain", None)


def projection(
    input_dim: int,
    *,
    layers: int = 2,
    hidden_dim: int | None = None,
    output_dim: int = 128,
    last_norm: str | None = "no_offset",
    name: str = "projection_head",
) -> keras.Model:
    """A head of linear layers with batch normalization between them.

    Each layer is linear without bias, with batch normalization and, except for the last, a ReLU.
    The default is the head of SimCLR, google-research/simclr `tf2/model.py`.

    Args:
        input_dim: width of the representation.
        layers: number of linear layers, at least 1; default: 2.
        hidden_dim: width between the layers; default: `input_dim`.
        output_dim: width of the projection; default: 128.
        last_norm: normalization after the last layer: `"no_offset"` (default; without β, SimCLR),
            `"plain"` (without γ and β, MoCo v3), or None.

    Returns:
        A `keras.Model` from `[b, input_dim]` to `[b, output_dim]`, not normalized.
    """
    if layers < 1:
        raise ValueError(f"layers must be at least 1; received {layers}.")
    if last_norm not in LAST_NORMS:
        raise ValueError(f"last_norm must be one of {LAST_NORMS}; received {last_norm!r}.")
    inputs = x = keras.Input([input_dim])
    for layer in range(layers):
        last = layer == layers - 1
        width = output_dim if last else hidden_dim or input_dim
        x = keras.layers.Dense(width, use_bias=False, name=f"dense_{layer}")(x)
        if not last:
            x = BatchNormalization(name=f"norm_{layer}")(x)
            x = keras.layers.ReLU(name=f"relu_{layer}")(x)
    if last_norm is not None:
        scale = last_norm == "no_offset"
        x = BatchNormalization(center=False, scale=scale, name=f"norm_{layers - 1}")(x)
    return keras.Model(inputs, x, name=name)


def swav(input_dim: int) -> keras.Model:
    """The two-layer head of SwAV and DeepCluster-v2 (Caron et al. 2020), with 128 outputs.

    NOTE: unlike the authors', the last layer has no bias.
    """
    return projection(input_dim, layers=2, last_norm=None)


def linear(input_dim: int, *, output_dim: int = 128, name: str = "projection_head") -> keras.Model:
    """One linear layer with bias, the head of InstDisc and MoCo v1."""
    inputs = keras.Input([input_dim])
    return keras.Model(inputs, keras.layers.Dense(output_dim, name="dense_0")(inputs), name=name)


def mlp(
    input_dim: int,
    *,
    hidden_dim: int | None = None,
    output_dim: int = 128,
    name: str = "projection_head",
) -> keras.Model:
    """Two linear layers with biases and a ReLU, without normalization, the head of MoCo v2.

    Args:
        input_dim: width of the representation.
        hidden_dim: width between the layers; default: `input_dim`.
        output_dim: width of the projection; default: 128.
    """
    inputs = keras.Input([input_dim])
    x = keras.layers.Dense(hidden_dim or input_dim, activation="relu", name="dense_0")(inputs)
    return keras.Model(inputs, keras.layers.Dense(output_dim, name="dense_1")(x), name=name)


def simclr_v1(input_dim: int) -> keras.Model:
    """The two-layer head of SimCLR (Chen et al. 2020a), width `input_dim`, 128 outputs."""
    return projection(input_dim, layers=2)


def simclr_v2(input_dim: int) -> keras.Model:
    """The three-layer head of SimCLR v2 (Chen et al. 2020b), width `input_dim`, 128 outputs."""
    return projection(input_dim, layers=3)
