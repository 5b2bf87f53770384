"""A head for the patches of an image."""

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
    """The patch head of PIRL, which projects each patch, then all of them together.

    Both projections are linear with biases, without normalization or ReLU: with a ResNet-50,
    2048 → 128 for each patch, then 9 · 128 = 1152 → 128 (facebookresearch/vissl
    `pirl_jigsaw_4node_resnet50.yaml`). With `hidden_dim`, each patch has two layers with a ReLU
    between them, 2048 → 2048 → 128 (`resnet50_mlphead.yaml` there).

    Args:
        input_dim: width of the representation of a patch.
        num_patches: number of patches; default: 9.
        hidden_dim: width of the hidden layer for each patch; default: None, no hidden layer.
        patch_dim: width of the projection of a patch; default: 128.
        output_dim: width of the projection of the image; default: 128.

    Returns:
        A `keras.Model` from `[b, num_patches, input_dim]` to `[b, output_dim]`, not normalized.

    Raises:
        ValueError: for fewer than one patch.
    """
    if num_patches < 1:
        raise ValueError(f"num_patches must be at least 1; received {num_patches}.")
    inputs = x = keras.Input([num_patches, input_dim])
    if hidden_dim is not None:
        x = keras.layers.Dense(hidden_dim, activation="relu", name="each_patch_hidden")(x)
    x = keras.layers.Dense(patch_dim, name="each_patch")(x)
    x = keras.layers.Flatten(name="side_by_side")(x)
    return keras.Model(inputs, keras.layers.Dense(output_dim, name="all_patches")(x), name=name)
