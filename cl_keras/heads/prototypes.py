"""Prototypes, i.e. unit vectors that represent groups of images."""

from typing import Any

import keras
import tensorflow as tf

from cl_keras.bounds import check_memory
from cl_keras.similarity import normalize, random_unit_rows


@keras.saving.register_keras_serializable("cl_keras")
class Prototypes(keras.layers.Layer):
    """K trained unit vectors `C`, and the cosines `z·Cᵀ` of projections with them.

    Caron et al. 2020 (SwAV). Gradient steps change the length of the rows, so `normalize_rows` must
    be called before each training step.

    In the first `frozen_steps` steps, `call` passes no gradient to the rows. Weight decay still
    shortens them, which `normalize_rows` undoes, apart from rounding.

    Args:
        dim: width of a projection.
        count: K.
        frozen_steps: number of steps before the rows begin to learn; default: 0.
        seed: seed of the initial rows; default: 0.

    Raises:
        ValueError: for fewer than one prototype, or more than fit into memory.
    """

    def __init__(self, dim: int, count: int, *, frozen_steps: int = 0, seed: int = 0, **kwargs):
        # Autocasting would round projections to half precision before they are normalized.
        super().__init__(autocast=False, **kwargs)
        if count < 1:
            raise ValueError(f"count must be at least 1; received {count!r}.")
        check_memory([count, dim], "A matrix of prototypes", "Give fewer prototypes.")
        self.dim, self.count = dim, count
        self.frozen_steps, self.seed = frozen_steps, seed
        self.rows = self.add_weight(
            name="rows",
            shape=[count, dim],
            initializer=random_unit_rows(self.seed),
            aggregation="only_first_replica",
            autocast=False,
        )
        self.built = True

    def normalize_rows(self) -> None:
        """Scales all rows to unit length."""
        self.rows.assign(normalize(self.rows.value))

    def call(
        self, vectors: tf.Tensor, step: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Cosines of projections with the prototypes, `[n, K]`, in float32 or float64.

        Args:
            vectors: `[n, dim]`; they are normalized first.
            step: int tensor, number of steps so far, for `frozen_steps`; default: None.
            training: use the rows as they are, with a gradient that may change their length;
                otherwise they are normalized first; default: False.
        """
        vectors = normalize(vectors)
        rows = self.rows.value if training else normalize(self.rows.value)
        if step is not None and self.frozen_steps:
            frozen = tf.cast(step, tf.int64) < self.frozen_steps
            rows = tf.where(frozen, tf.stop_gradient(rows), rows)
        return tf.matmul(vectors, tf.cast(rows, vectors.dtype), transpose_b=True)

    def compute_output_spec(
        self, vectors: keras.KerasTensor, step: tf.Tensor | None = None, training: bool = False
    ) -> keras.KerasTensor:
        dtype = "float64" if vectors.dtype == "float64" else "float32"
        return keras.KerasTensor([*vectors.shape[:-1], self.count], dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "dim": self.dim,
            "count": self.count,
            "frozen_steps": self.frozen_steps,
            "seed": self.seed,
        }
