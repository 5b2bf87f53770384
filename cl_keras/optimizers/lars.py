"""Layer-wise adaptive rate scaling."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras.optimizers.momentum import Momentum
from cl_keras.similarity import at_least_float32


@keras.saving.register_keras_serializable("cl_keras")
class LARS(Momentum):
    """LARS (You et al. 2017, "Large Batch Training of Convolutional Networks").

    For each weight tensor `w` with gradient `g`, learning rate `γ` and weight decay `λ`:

        trust = η‖w‖ / (‖g‖ + λ‖w‖)       1 if ‖w‖ or ‖g‖ is 0
        u     = trust · (g + λw)

    Momentum comes in two conventions, which differ if the learning rate changes:

        inside:   v ← μv + γu,   w ← w - v      SimCLR's own code
        outside:  v ← μv + u,    w ← w - γv     BYOL, MoCo v3, Barlow Twins

    Tensors of rank ≤ 1 (biases, normalization) get neither decay nor adaptation: `u = g`.

    NOTE: this follows the paper; google-research/simclr divides by ‖g + λw‖ instead of ‖g‖ + λ‖w‖,
    which makes no practical difference at λ = 1e-6.

    Args:
        learning_rate: γ, a number or a schedule; default: 0.3.
        momentum: μ, in [0, 1); default: 0.9.
        weight_decay: λ, at least 0, added to the gradient; default: 1e-6.
        trust_coefficient: η; default: 1e-3.
        momentum_convention: `"inside"` or `"outside"`, the place of the learning rate; default:
            `"inside"`.
        nesterov: use Nesterov momentum; default: False.
        **kwargs: as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        learning_rate: float | Callable = 0.3,
        *,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        trust_coefficient: float = 1e-3,
        momentum_convention: str = "inside",
        nesterov: bool = False,
        name: str = "lars",
        **kwargs,
    ):
        if trust_coefficient <= 0:
            raise ValueError(f"trust_coefficient must be above 0; received {trust_coefficient!r}.")
        super().__init__(
            learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            momentum_convention=momentum_convention,
            nesterov=nesterov,
            name=name,
            **kwargs,
        )
        self.trust_coefficient = trust_coefficient

    def direction(self, gradient: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        if len(weight.shape) <= 1:
            return gradient
        decayed = gradient + self.decay * weight
        both, trust = self._trust(gradient, weight)
        return tf.cast(tf.where(both, trust, 1.0), gradient.dtype) * decayed

    def _trust(self, gradient, weight):
        """Whether both norms are above 0, and the trust ratio."""
        weight_norm = tf.norm(at_least_float32(weight))
        gradient_norm = tf.norm(at_least_float32(gradient))
        ratio = tf.math.divide_no_nan(weight_norm, gradient_norm + self.decay * weight_norm)
        return (weight_norm > 0) & (gradient_norm > 0), self.trust_coefficient * ratio

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "trust_coefficient": self.trust_coefficient}


@keras.saving.register_keras_serializable("cl_keras")
class LARC(LARS):
    """SGD with the LARC of SwAV and DeepCluster-v2 (NVIDIA Apex, without clipping).

    Unlike `LARS`, it also adapts and decays biases and normalization, does not decay tensors whose
    weights or gradient are 0, and has the learning rate outside of the momentum.

    Args:
        learning_rate: γ, a number or a schedule; default: 0.6, for a batch of 256.
        momentum_convention: default: `"outside"`.
        **kwargs: as for `LARS`.
    """

    def __init__(
        self,
        learning_rate: float | Callable = 0.6,
        *,
        momentum_convention: str = "outside",
        name: str = "larc",
        **kwargs,
    ):
        super().__init__(
            learning_rate, momentum_convention=momentum_convention, name=name, **kwargs
        )

    def direction(self, gradient: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        both, trust = self._trust(gradient, weight)
        adapted = tf.cast(trust, gradient.dtype) * (gradient + self.decay * weight)
        return tf.where(both, adapted, gradient)
