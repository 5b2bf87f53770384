"""Deep InfoMax: a representation shares as much information as it can with its feature maps."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import distribute, heads
from cl_keras.encoders import feature_map
from cl_keras.heads.critics import CRITICS, prior_discriminator
from cl_keras.losses.mutual_information import BOUNDS
from cl_keras.similarity import at_least_float32
from cl_keras.training.objective import Objective
from cl_keras.training.pretext_model import PretextModel
from cl_keras.training.recipe import Recipe, small_recipe
from cl_keras.views import inst_disc, simclr
from cl_keras.views.draws import uniform

PRIOR_SEED = 7
"""Added to the seed of the views, so that the prior is independent of them."""


@keras.saving.register_keras_serializable("cl_keras")
class DeepInfoMax(PretextModel):
    """Learning Deep Representations by Mutual Information Estimation (Hjelm et al. 2019).

    With the representation `y = g(f(x))` of an image, a feature map `M(x)` inside f, the location p
    of the map `M_p`, critics T and a lower bound I of the mutual information
    (`losses.mutual_information`),

        L = -α·I(M; y) - β·mean_p I(M_p; y) + γ·D(y)

    Positives are the locations of the same image, negatives those of the other images of the global
    batch. D is the divergence of `sigmoid(y)` from the uniform prior, as an adversary measures it:
    the discriminator maximizes `E_U[log d(u)] + E[log(1 - d(sigmoid(y)))]` and the encoder
    minimizes it, both in one step, by reversing the gradient between them.

    With two views (`views.simclr(32)`) this is the multi-scale form of AMDIM (Bachman et al. 2019):
    y of each view must recognize the locations of the *other* view, at every depth of `at`.

    The metric `accuracy` is the share of images whose y scores highest on a location of their own.

    Args:
        encoder: a functional `keras.Model` from images to vectors; see `encoders.feature_map`.
        views: a callable that makes one or two views of a batch of images, such as
            `views.inst_disc(32)`.
        global_weight: α; default: 0, the paper's DIM(L); 1 in DIM(G).
        local_weight: β; default: 1; 0 in DIM(G).
        prior_weight: γ; default: 0.1; 1 in DIM(G).
        bound: `"jsd"`, `"infonce"` or `"dv"`; default: `"jsd"`.
        critic: `"dot"` (encode and dot) or `"concat"` (concat and convolve); default: `"dot"`.
        critic_dim: width inside the critics; default: 512.
        at: names of the layers that give the maps; default: the last map, the one that is pooled.
        output_dim: width of y; default: 64.
        seed: of the views and the prior; default: 0.

    Raises:
        ValueError: for an unknown name, a negative weight, or α and β both 0.
    """

    accuracy_name = "accuracy"

    recipes = {
        "published": Recipe(
            origin="Hjelm et al. 2019, section 4",
            batch_size=64,
            epochs=1000,
            optimizer="adam",
            learning_rate=1e-4,
            rate_power=0.0,
            weight_decay=0.0,
            schedule="constant",
        ),
        # With one view, brightness and crop tell an image best, and that is what is learned.
        "small": small_recipe(
            options={"bound": "infonce", "critic_dim": 64, "prior_weight": 0.0},
            views={"num_views": 2},
        ),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        global_weight: float = 0.0,
        local_weight: float = 1.0,
        prior_weight: float = 0.1,
        bound: str = "jsd",
        critic: str = "dot",
        critic_dim: int = 512,
        at: tuple[str, ...] | None = None,
        output_dim: int = 64,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, seed=seed, **kwargs)
        self.weights_of = {"global": global_weight, "local": local_weight, "prior": prior_weight}
        _check(self.weights_of, bound, critic)
        self.bound, self.critic, self.critic_dim = bound, critic, critic_dim
        self.at, self.output_dim = at, output_dim
        self.head = heads.mlp(self.encoder.output_shape[-1], output_dim=output_dim)
        self.maps = feature_map(self.encoder, at)
        make, shapes = CRITICS[critic], self.maps.shapes(self.views.image_size)
        self.local_critics = [
            make(output_dim, c, units=critic_dim, name=f"local_critic_{i}")
            for i, (_, _, c) in enumerate(shapes)
            if local_weight
        ]
        self.global_critic = (
            make(output_dim, _size(shapes[-1]), units=critic_dim, name="global_critic")
            if global_weight
            else None
        )
        self.discriminator = prior_discriminator(output_dim) if prior_weight else None

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        seen = [self.maps(view, training=training) for view in batch["views"]]
        y = [self.head(vector, training=training) for *_, vector in seen]
        maps = [of_view[:-1] for of_view in seen]
        # One view recognizes its own locations; two recognize each other's.
        pairs = [(0, 0)] if len(y) == 1 else [(0, 1), (1, 0)]
        terms = [term for i, j in pairs for term in self._terms(y[i], maps[j])]
        objective = (1.0 / len(pairs)) * sum(terms[1:], start=terms[0])
        if self.discriminator is None:
            return objective
        prior = [self._prior(each, view, training) for view, each in enumerate(y)]
        return objective + (1.0 / len(prior)) * sum(prior[1:], start=prior[0])

    def _terms(self, y, maps):
        for critic, each in zip(self.local_critics, maps, strict=False):
            bound = self._information(critic, y, _locations(each), _size(each.shape[1:3]))
            yield self.weights_of["local"] / len(maps) * bound
        if self.global_critic is not None:
            whole = tf.reshape(maps[-1], [-1, _size(maps[-1].shape[1:])])
            yield self.weights_of["global"] * self._information(self.global_critic, y, whole, 1)

    def _information(self, critic, y, candidates, per_image):
        """Minus the bound between y and the candidates, of which each image has `per_image`."""
        candidates = distribute.gather(critic.embed_candidates(candidates))
        scores = critic.scores(critic.embed_queries(y), candidates)
        local = tf.shape(y)[0]
        own = distribute.own_rows(local)
        image_of = tf.range(tf.shape(scores)[1]) // per_image
        positives = own[:, None] == image_of
        best = tf.gather(image_of, tf.argmax(scores, axis=1))
        hits = tf.stack([best == own, tf.ones_like(own, tf.bool)], axis=1)
        return Objective(-BOUNDS[self.bound](scores, positives), tf.cast(hits, tf.float32))

    def _prior(self, y, view, training):
        """The adversary's loss; its gradient reaches the encoder times -γ."""
        rows = tf.shape(y)[0]
        step = self.step.value if training else tf.zeros([], self.step.dtype)
        first = distribute.batch_row(rows)
        drawn = uniform(self.seed + PRIOR_SEED + view, step, first, rows, self.output_dim)
        y = at_least_float32(y)
        reversed_y = _reverse_gradient(tf.sigmoid(y), self.weights_of["prior"])
        real = at_least_float32(self.discriminator(tf.cast(drawn, y.dtype), training=training))
        made = at_least_float32(self.discriminator(reversed_y, training=training))
        # -log d(u) - log(1 - d(y)), from logits
        loss = tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(made))
        return Objective(loss)

    @classmethod
    def default_views(
        cls, image_size: int, channels: int = 3, *, num_views: int = 1, **changes
    ) -> Callable:
        if num_views not in (1, 2):
            raise ValueError(f"num_views must be 1 or 2; received {num_views!r}.")
        return (simclr if num_views == 2 else inst_disc)(image_size, channels, **changes)

    def get_config(self) -> dict[str, Any]:
        names = ("bound", "critic", "critic_dim", "at", "output_dim")
        weights = {f"{name}_weight": weight for name, weight in self.weights_of.items()}
        return {**super().get_config(), **weights, **{name: getattr(self, name) for name in names}}


def _check(weights, bound, critic):
    if min(weights.values()) < 0 or not (weights["global"] or weights["local"]):
        raise ValueError(
            "global_weight, local_weight and prior_weight must not be negative, and at least one "
            f"of the first two must be above 0; received {weights}."
        )
    for name, value, known in (("bound", bound, BOUNDS), ("critic", critic, CRITICS)):
        if value not in known:
            raise ValueError(f"{name} must be one of {list(known)}; received {value!r}.")


def _size(shape):
    size = 1
    for length in shape:
        size *= length
    return size


def _locations(maps):
    """`[b, h, w, c]` to `[b·h·w, c]`."""
    return tf.reshape(maps, [-1, maps.shape[-1]])


def _reverse_gradient(x, weight):
    """x, with its gradient multiplied by -weight."""

    @tf.custom_gradient
    def reverse(x):
        return tf.identity(x), lambda upstream: -weight * upstream

    return reverse(x)
