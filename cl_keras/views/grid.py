"""A picture of what the encoder is shown."""

import tensorflow as tf

from cl_keras.views.jigsaw import tiles


def view_grid(images, views, *, draws=1, seed=0):
    """Each image and its views, side by side.

    Args:
        images: uint8 `[n, H, W, C]`.
        views: a `TwoViews`, or another that gives views `[n, s, s, C]`; smaller ones are enlarged,
            and patches `[n, g², p, p, C]` laid side by side.
        draws: how often to draw; each gives a column for each view.
        seed: of the draws.

    Returns:
        uint8 `[n, 1 + draws · views, S, S, C]` with `S = views.image_size`; the first column
        is the image itself. `report.image_grid` makes a picture of it.
    """
    size = [views.image_size] * 2
    columns = [images]
    for step in range(draws):
        columns += views(images, seed=seed, step=step)
    columns = [tiles(column) if len(column.shape) == 5 else column for column in columns]
    columns = [tf.image.resize(column, size, antialias=True) for column in columns]
    stacked = tf.stack([tf.cast(column, tf.float32) for column in columns], axis=1)
    return tf.cast(tf.round(stacked), tf.uint8).numpy()
