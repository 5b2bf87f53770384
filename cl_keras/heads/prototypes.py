"""Prototypes: unit vectors that stand for groups of images."""

from typing import Any

import keras
import tensorflow as tf

from cl_keras.similarity import normalize, random_unit_rows


@keras.saving.register_keras_serializable("cl_keras")
class Prototypes(keras.layers.Layer):
    """K trained unit vectors `C`, and the cosines `z·Cᵀ` of projections to them.

    Caron et al. 2020 (SwAV). Gradient steps take the rows off the unit sphere; `normalize_rows`
    puts them back and is to be called before each training step.

    In the first `frozen_steps` steps the rows do not learn: `call` lets no gradient through to
    them. What a weight decay does then is to shorten them, which `normalize_rows` undoes, to the
    last bit or two.

    Args:
        dim: width of a projection.
        count: K.
        frozen_steps: number of steps before the rows begin to learn.
        seed: of the rows at the start.

    Raises:
        ValueError: for fewer than one prototype.
    """

    def __init__(self, dim: int, count: int, *, frozen_steps: int = 0, seed: int = 0, **kwargs):
        # Autocasting would round projections to half precision before they are normalized.
        super().__init__(autocast=False, **kwargs)
        if count < 1:
            raise ValueError(f"There must be at least 1 prototype; received count={count!r}.")
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
        """Gives every row unit length again."""
        self.rows.assign(normalize(self.rows.value))

    def call(
        self, vectors: tf.Tensor, step: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Cosines of projections to the prototypes, `[n, K]`, in float32 or float64.

        Args:
            vectors: `[n, dim]`; they are normalized.
            step: int tensor, steps done, which decides whether the rows are frozen.
            training: the rows are of unit length, and get a gradient that may change it;
                otherwise they are taken as if they were.
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
