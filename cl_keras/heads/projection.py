"""Projection heads: from the representation to the vector that the loss compares."""

import keras

from cl_keras.encoders.batch_norm import BatchNormalization


def projection(input_dim, *, layers=2, hidden_dim=None, output_dim=128, name="projection_head"):
    """The multi-layer projection head of SimCLR.

    Each layer is linear, without bias, followed by batch normalisation, and by a ReLU except
    after the last, whose normalisation has no offset (β); as in the authors' code,
    google-research/simclr `tf2/model.py`.

    Args:
        input_dim: width of the representation.
        layers: number of linear layers, at least 1.
        hidden_dim: width between the layers; default: `input_dim`.
        output_dim: width of the projection.

    Returns:
        A `keras.Model` from `[B, input_dim]` to `[B, output_dim]`, not normalised.
    """
    if layers < 1:
        raise ValueError(f"A projection head needs at least 1 layer; received layers={layers}.")
    inputs = x = keras.Input([input_dim])
    for layer in range(layers):
        last = layer == layers - 1
        width = output_dim if last else hidden_dim or input_dim
        x = keras.layers.Dense(width, use_bias=False, name=f"dense_{layer}")(x)
        x = BatchNormalization(center=not last, name=f"norm_{layer}")(x)
        if not last:
            x = keras.layers.ReLU(name=f"relu_{layer}")(x)
    return keras.Model(inputs, x, name=name)


def simclr_v1(input_dim):
    """The two-layer head of SimCLR (Chen et al. 2020a), width `input_dim`, output 128."""
    return projection(input_dim, layers=2)


def simclr_v2(input_dim):
    """The three-layer head of SimCLR v2 (Chen et al. 2020b), width `input_dim`, output 128."""
    return projection(input_dim, layers=3)
