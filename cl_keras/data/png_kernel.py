"""A compiled loop that undoes the filters of PNG (PNG specification, third edition, section 9)."""

import numpy as np

from cl_keras.loops import compiled

SUB, UP, AVERAGE, PAETH = 1, 2, 3, 4  # kinds of rows; 0 is not filtered


@compiled
def reconstruct(rows, stored, images, intact):
    """Reconstructs images from filtered rows.

    Args:
        rows: uint8, one image after the other: for each row its kind and `w · stored` values.
        stored: integers `[n]`, number of channels of each image in `rows`: 1 or c.
        images: uint8 `[n, h, w, c]`, to be filled.
        intact: bool `[n]`, to be filled: whether all kinds of rows exist.
    """
    number, height, width, channels = images.shape
    at = 0
    for i in range(number):
        step = stored[i]
        span = width * step
        # Pixels left of the first column and above the first row are 0.
        above, line = np.zeros(step + span, np.uint8), np.zeros(step + span, np.uint8)
        intact[i] = True
        for row in range(height):
            kind, source = rows[at], rows[at + 1 : at + 1 + span]
            at += 1 + span
            intact[i] &= kind <= PAETH
            _row(kind, source, above, line, step)
            if step == channels:
                images[i, row].reshape(span)[:] = line[step:]
            else:
                for column in range(width):
                    images[i, row, column, :] = line[step + column]
            above, line = line, above


@compiled
def _row(kind, source, above, line, step):
    """Adds to each value what its neighbors predict.

    Args:
        kind: of the row.
        source: uint8 `[w · step]`.
        above: uint8 `[step + w · step]`, the row above.
        line: uint8, of the same shape, to be filled from `step` on.
        step: number of channels.
    """
    if kind == PAETH:
        _paeth(source, above, line, step)
        return
    for i in range(len(source)):
        left, up = np.int32(line[i]), np.int32(above[i + step])
        if kind == SUB:
            predicted = left
        elif kind == UP:
            predicted = up
        elif kind == AVERAGE:
            predicted = (left + up) >> 1
        else:
            predicted = np.int32(0)
        line[i + step] = np.uint8(source[i] + predicted)


@compiled
def _paeth(source, above, line, step):
    """`_row` where the prediction is the neighbor closest to left + up - corner."""
    for i in range(len(source)):
        left, up, corner = np.int32(line[i]), np.int32(above[i + step]), np.int32(above[i])
        from_left, from_up = abs(up - corner), abs(left - corner)
        from_corner = abs(left + up - 2 * corner)
        if from_left <= from_up and from_left <= from_corner:
            predicted = left
        elif from_up <= from_corner:
            predicted = up
        else:
            predicted = corner
        line[i + step] = np.uint8(source[i] + predicted)
