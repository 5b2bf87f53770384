"""A head for an image in pieces."""

import keras


def patch_head(input_dim, *, num_patches=9, patch_dim=128, output_dim=128, name="patch_head"):
    """The patch head of PIRL: each patch is projected, and all together again.

    Linear both times, with biases, without normalisation or ReLU; with a ResNet-50 2048 → 128 for
    each patch, and 9 · 128 = 1152 → 128 (facebookresearch/vissl `pirl_jigsaw_4node_resnet50.yaml`).

    Args:
        input_dim: width of the representation of a patch.
        num_patches: number of patches.
        patch_dim: width of the projection of a patch.
        output_dim: width of the projection of the image.

    Returns:
        A `keras.Model` from `[B, num_patches, input_dim]` to `[B, output_dim]`, not normalised.

    Raises:
        ValueError: for less than one patch.
    """
    if num_patches < 1:
        raise ValueError(
            f"A patch head needs at least 1 patch; received num_patches={num_patches}."
        )
    inputs = keras.Input([num_patches, input_dim])
    x = keras.layers.Dense(patch_dim, name="each_patch")(inputs)
    x = keras.layers.Flatten(name="side_by_side")(x)
    return keras.Model(inputs, keras.layers.Dense(output_dim, name="all_patches")(x), name=name)
