"""SwAV: each view predicts which prototypes the other views belong to."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import distribute, heads
from cl_keras.clustering import sinkhorn
from cl_keras.heads.prototypes import Prototypes
from cl_keras.losses.swapped_assignment import swapped_assignment, swapped_targets
from cl_keras.negatives import KeyQueue
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, hits_of
from cl_keras.training.recipe import Epochs, QueueBatches, Recipe, ShareOfImages, small_recipe
from cl_keras.views import RandomViews
from cl_keras.views import swav as swav_views

CODED_VIEWS = 2
"""Number of views that have codes: the first ones, the large ones of multi-crop."""

HEADS = {"mlp": heads.swav, "linear": heads.linear}


@keras.saving.register_keras_serializable("cl_keras")
class SwAV(ContrastiveModel):
    """Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (Caron 2020).

    Views are encoded, projected to unit vectors `z`, and compared with K trained prototypes `C`.
    The codes `q_t` of the first two views are their assignments to the prototypes, made to use all
    of them equally by `clustering.sinkhorn` on the whole global batch; every other view s must
    predict them:

        L = mean over t ∈ {0, 1}, s ≠ t of  -Σ_k q_t^(k) log softmax(z_s·Cᵀ / τ)^(k)

    No gradient flows through the codes. The prototypes are normalized before each step, and frozen
    for the first steps. As in the authors' code, facebookresearch/swav `main_swav.py`.

    A batch that is smaller than the number of prototypes cannot use them all; then a queue of
    projections from earlier batches, one for each of the first two views, is added to the codes.

    NOTE: the queue is filled from the first step and used from `queue_from_step`, if it is full by
    then; the authors start filling it at that step.

    Args:
        encoder: a `keras.Model` from images of every size in `views` to vectors.
        views: a callable that makes at least two views of a batch of images, such as
            `views.swav(96)`; the first two, the large ones, have codes.
        head: `"mlp"` (two layers), `"linear"`, or a `keras.Model`; default: `"mlp"`.
        num_prototypes: K, about ten times the number of classes you expect; default: 3000.
        epsilon: ε of the codes; smaller values make them harder; default: 0.05.
        iterations: of Sinkhorn–Knopp; default: 3.
        frozen_steps: number of steps in which the prototypes do not learn; default: 313, the first
            epoch of the paper.
        queue_size: number of projections kept for each of the first two views, over all replicas;
            3840 in the paper for a batch of 256; default: 0, for no queue.
        queue_from_step: first step that uses the queue, epoch 15 in the paper; default: 0.
        temperature: τ; default: 0.1.
        seed: of the views and the prototypes; default: 0.
    """

    recipes = {
        "published": Recipe(
            origin="facebookresearch/swav main_swav.py, README.md",
            batch_size=4096,
            epochs=800,
            optimizer="larc",
            learning_rate=0.6,
            weight_decay=1e-6,
            rate_power=0.75,  # 0.6 at 256 images per step and 4.8 at 4096
            warmup_epochs=10,
            warmup_start=0.0625,
            final_share=1e-3,
            options={
                "frozen_steps": Epochs(1),
                "queue_size": QueueBatches(15, enough=3000),
                "queue_from_step": Epochs(15),
            },
        ),
        "small": small_recipe(
            options={
                "num_prototypes": ShareOfImages(0.01, least=10, most=100, within_batch=True),
                "frozen_steps": Epochs(1),
            },
            views={"small_views": 0},
        ),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        head: str | keras.Model = "mlp",
        num_prototypes: int = 3000,
        epsilon: float = 0.05,
        iterations: int = 3,
        frozen_steps: int = 313,
        queue_size: int = 0,
        queue_from_step: int = 0,
        temperature: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        if getattr(views, "num_views", 0) < CODED_VIEWS:
            raise ValueError(
                f"SwAV needs at least {CODED_VIEWS} views of each image, such as those of "
                f"views.swav; received {views!r}."
            )
        self.head = self.build_head(head, HEADS)
        self.epsilon, self.iterations = epsilon, iterations
        self.queue_size, self.queue_from_step = queue_size, queue_from_step
        dim = self.head.output_shape[-1]
        self.prototypes = Prototypes(dim, num_prototypes, frozen_steps=frozen_steps, seed=self.seed)
        with_codes = range(CODED_VIEWS if queue_size else 0)
        self.queues = [KeyQueue(queue_size, dim, seed=self.seed + i) for i in with_codes]

    def before_step(self) -> None:
        self.prototypes.normalize_rows()

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        step = self.step.value
        z = self.encode_views(batch["views"], training)
        scores = [self.prototypes(one, step=step, training=training) for one in z]
        codes = [self._codes(i, scores[i], step) for i in range(CODED_VIEWS)]
        loss = swapped_assignment(codes, scores, temperature=self.temperature)
        targets = swapped_targets(codes[0], codes[1], len(scores))
        return Objective(loss, hits_of(targets, tf.concat(scores, 0))).keep(z[:CODED_VIEWS])

    def after_step(self, kept: Any) -> None:
        for queue, z in zip(self.queues, kept, strict=False):
            queue.push(z)

    def _codes(self, view, scores, step):
        """Codes of this replica's rows, computed together with its share of the queue."""
        if not self.queues:
            return sinkhorn(scores, epsilon=self.epsilon, iterations=self.iterations)
        local = tf.shape(scores)[0]
        waiting = self.prototypes(self._queue_share(view, local, step))
        together = tf.concat([tf.cast(waiting, scores.dtype), scores], axis=0)
        codes = sinkhorn(together, epsilon=self.epsilon, iterations=self.iterations)[-local:]
        return tf.ensure_shape(codes, scores.shape)

    def _queue_share(self, view, local, step):
        """This replica's share of a queue; empty before the queue is used."""
        replicas = distribute.num_replicas()
        first, size = distribute.first_row(self.queue_size), self.queue_size
        pushed = step * tf.cast(local * replicas, step.dtype)
        takes_part = (step >= self.queue_from_step) & (pushed >= size)
        begin, end = first // replicas, (first + size) // replicas
        return self.queues[view].keys.value[begin : tf.where(takes_part, end, begin)]

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> RandomViews:
        return swav_views(image_size, channels, **changes)

    def check_data(self, dataset: tf.data.Dataset) -> None:
        batch = _batch_size(dataset)
        if batch is None or batch + self.queue_size >= self.prototypes.count:
            return
        raise ValueError(
            f"The {self.prototypes.count} prototypes are more than the batch of {batch} and the "
            f"queue of {self.queue_size} can fill, so the loss would stay at ln K. Give "
            f"num_prototypes at most {batch + self.queue_size}, queue_size at least "
            f"{self.prototypes.count - batch}, or larger batches."
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "head": keras.saving.serialize_keras_object(self.head),
            "num_prototypes": self.prototypes.count,
            "epsilon": self.epsilon,
            "iterations": self.iterations,
            "frozen_steps": self.prototypes.frozen_steps,
            "queue_size": self.queue_size,
            "queue_from_step": self.queue_from_step,
        }


def _batch_size(dataset):
    """Size of a global batch, or None if the dataset does not say."""
    return tf.nest.flatten(dataset.element_spec)[0].shape[0]
