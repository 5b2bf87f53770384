"""A head for an image in pieces."""

import keras


def patch_head(
    input_dim: int,
    *,
    num_patches: int = 9,
    hidden_dim: int | None = None,
    patch_dim: int = 128,
    output_dim: int = 128,
    name: str = "patch_head",
) -> keras.Model:
    """The patch head of PIRL: each patch is projected, and all together again.

    Linear both times, with biases, without normalization or ReLU; with a ResNet-50 2048 → 128 for
    each patch, and 9 · 128 = 1152 → 128 (facebookresearch/vissl `pirl_jigsaw_4node_resnet50.yaml`).
    With `hidden_dim`, two layers for each patch, 2048 → 2048 → 128 with a ReLU between them
    (`resnet50_mlphead.yaml` there).

    Args:
        input_dim: width of the representation of a patch.
        num_patches: number of patches.
        hidden_dim: width of a hidden layer for each patch; None for no such layer.
        patch_dim: width of the projection of a patch.
        output_dim: width of the projection of the image.

    Returns:
        A `keras.Model` from `[b, num_patches, input_dim]` to `[b, output_dim]`, not normalized.

    Raises:
        ValueError: for fewer than one patch.
    """
    if num_patches < 1:
        raise ValueError(
            f"A patch head needs at least 1 patch; received num_patches={num_patches}."
        )
    inputs = x = keras.Input([num_patches, input_dim])
    if hidden_dim is not None:
        x = keras.layers.Dense(hidden_dim, activation="relu", name="each_patch_hidden")(x)
    x = keras.layers.Dense(patch_dim, name="each_patch")(x)
    x = keras.layers.Flatten(name="side_by_side")(x)
    return keras.Model(inputs, keras.layers.Dense(output_dim, name="all_patches")(x), name=name)
