"""Convolutions of our networks, which are trained in the fastest form for the device."""

import keras

from cl_keras.encoders import winograd

USE_WINOGRAD: bool | None = None
"""Whether 3×3 convolutions are trained with `winograd`; None means where it is the fastest,
True, wherever it can be."""


@keras.saving.register_keras_serializable("cl_keras")
class Convolution(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, faster in training on a CPU.

    There, 3×3 convolutions of stride 1 without bias and activation take Winograd's form where that
    is faster: the same values and gradients up to rounding, which is three times that of the plain
    sum in float32, and the same in bfloat16. Weights and all else are those of
    `keras.layers.Conv2D`.

    Args:
        filters: number of output channels.
        kernel_size: side of the kernel.
        **kwargs: as for `keras.layers.Conv2D`.
    """

    def __init__(self, filters: int, kernel_size: int | tuple[int, int], **kwargs):
        super().__init__(filters, kernel_size, **kwargs)

    def call(self, inputs, training=None):
        """Args:
        inputs: `[b, h, w, c]`.
        training: whether it is called in a training step; otherwise the plain form is taken, which
            can be saved.
        """
        if training and self._is_plain() and self._is_faster(inputs):
            return winograd.convolve(inputs, self.kernel)
        return super().call(inputs)

    def _is_plain(self):
        """Whether it is a 3×3 convolution of stride 1 and nothing else."""
        return (
            (self.kernel_size, self.strides, self.dilation_rate) == ((3, 3), (1, 1), (1, 1))
            and (self.padding, self.groups, self.data_format) == ("same", 1, "channels_last")
            and self.bias is None
            and self.activation is keras.activations.linear
        )

    def _is_faster(self, inputs):
        if USE_WINOGRAD is None:
            return winograd.is_faster(inputs, self.filters)
        return USE_WINOGRAD and winograd.supports(inputs, self.filters)
