"""A picture of what the encoder is shown."""

import tensorflow as tf


def view_grid(images, views, *, draws=1, seed=0):
    """Each image and its views, side by side.

    Args:
        images: uint8 `[n, H, W, C]`.
        views: a `TwoViews`.
        draws: how often to draw; each gives `views.num_views` columns.
        seed: of the draws.

    Returns:
        uint8 `[n, 1 + draws · num_views, S, S, C]` with `S = views.image_size`; the first column
        is the image itself. `report.image_grid` makes a picture of it.
    """
    size = [views.image_size] * 2
    columns = [tf.image.resize(images, size, antialias=True)]
    for step in range(draws):
        columns += views(images, seed=seed, step=step)
    stacked = tf.stack([tf.cast(column, tf.float32) for column in columns], axis=1)
    return tf.cast(tf.round(stacked), tf.uint8).numpy()
