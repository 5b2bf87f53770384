"""Critics, which score pairs of a vector and a position, for bounds of mutual information.

A critic embeds queries and candidates separately, so that candidates can be gathered from all
replicas before each query is scored against each candidate.
"""

from typing import Any

import keras
import tensorflow as tf

from cl_keras.similarity import at_least_float32


@keras.saving.register_keras_serializable("cl_keras")
class DotCritic(keras.layers.Layer):
    """Encode and dot: `s(x, y) = a(x)·b(y)`, both two-layer networks with a linear shortcut.

    Hjelm et al. 2019, section 3.2. NOTE: this uses layer normalization, where the authors use batch
    normalization, so that a score depends only on its own pair.

    Args:
        query_dim: width of the queries.
        candidate_dim: width of the candidates.
        units: width in which they are compared; default: 512 (2048 in the paper).
    """

    def __init__(self, query_dim: int, candidate_dim: int, *, units: int = 512, **kwargs):
        super().__init__(**kwargs)
        self.query_dim, self.candidate_dim, self.units = query_dim, candidate_dim, units
        self.query_network = _two_layers(query_dim, units, "query")
        self.candidate_network = _two_layers(candidate_dim, units, "candidate")
        self.built = True

    def embed_queries(self, queries: tf.Tensor) -> tf.Tensor:
        """Embeds queries `[n, query_dim]` as `[n, units]`."""
        return self.query_network(queries)

    def embed_candidates(self, candidates: tf.Tensor) -> tf.Tensor:
        """Embeds candidates `[m, candidate_dim]` as `[m, units]`."""
        return self.candidate_network(candidates)

    def scores(self, queries: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Scores `[n, m]` of embedded queries and candidates."""
        queries, candidates = at_least_float32(queries), at_least_float32(candidates)
        return tf.matmul(queries, candidates, transpose_b=True) / self.units**0.5

    def call(self, queries, candidates):
        return self.scores(self.embed_queries(queries), self.embed_candidates(candidates))

    def get_config(self) -> dict[str, Any]:
        own = {"query_dim": self.query_dim, "candidate_dim": self.candidate_dim}
        return {**super().get_config(), **own, "units": self.units}


@keras.saving.register_keras_serializable("cl_keras")
class ConcatCritic(keras.layers.Layer):
    """Concat and convolve: a three-layer network on each concatenated pair.

    Hjelm et al. 2019, section 3.2: 1×1 convolutions over the map, with the vector concatenated at
    each position. The first layer is linear in both, so it is applied to each and added.

    Args:
        query_dim: width of the queries.
        candidate_dim: width of the candidates.
        units: width of the hidden layers; default: 512.
    """

    def __init__(self, query_dim: int, candidate_dim: int, *, units: int = 512, **kwargs):
        super().__init__(**kwargs)
        self.query_dim, self.candidate_dim, self.units = query_dim, candidate_dim, units
        self.query_layer = _dense(query_dim, units, "query", use_bias=False)
        self.candidate_layer = _dense(candidate_dim, units, "candidate")
        self.hidden_layer = _dense(units, units, "hidden", activation="relu")
        self.last_layer = _dense(units, 1, "last")
        self.built = True

    def embed_queries(self, queries: tf.Tensor) -> tf.Tensor:
        """Embeds queries `[n, query_dim]` as `[n, units]`."""
        return self.query_layer(queries)

    def embed_candidates(self, candidates: tf.Tensor) -> tf.Tensor:
        """Embeds candidates `[m, candidate_dim]` as `[m, units]`."""
        return self.candidate_layer(candidates)

    def scores(self, queries: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
        """Scores `[n, m]` of embedded queries and candidates."""
        pairs = tf.nn.relu(queries[:, None, :] + candidates)
        return at_least_float32(self.last_layer(self.hidden_layer(pairs))[..., 0])

    def call(self, queries, candidates):
        return self.scores(self.embed_queries(queries), self.embed_candidates(candidates))

    def get_config(self) -> dict[str, Any]:
        own = {"query_dim": self.query_dim, "candidate_dim": self.candidate_dim}
        return {**super().get_config(), **own, "units": self.units}


CRITICS = {"dot": DotCritic, "concat": ConcatCritic}
"""Critics by the names that methods take."""


def prior_discriminator(input_dim: int, *, name: str = "prior_discriminator") -> keras.Model:
    """Distinguishes samples of the prior from representations, `[b, d]` to `[b, 1]`.

    It has layers of 1000, 200 and 1 units.

    Hjelm et al. 2019, appendix A.
    """
    inputs = keras.Input([input_dim])
    x = keras.layers.Dense(1000, activation="relu", name="dense_0")(inputs)
    x = keras.layers.Dense(200, activation="relu", name="dense_1")(x)
    return keras.Model(inputs, keras.layers.Dense(1, name="dense_2")(x), name=name)


def _two_layers(input_dim, units, name):
    inputs = keras.Input([input_dim])
    x = keras.layers.Dense(units, activation="relu", name=f"{name}_0")(inputs)
    x = keras.layers.Dense(units, name=f"{name}_1")(x)
    shortcut = keras.layers.Dense(units, name=f"{name}_shortcut")(inputs)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.Model(inputs, keras.layers.LayerNormalization(name=f"{name}_norm")(x), name=name)


def _dense(input_dim, units, name, **options):
    layer = keras.layers.Dense(units, name=name, **options)
    layer.build([None, input_dim])
    return layer
