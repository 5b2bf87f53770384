"""SEED: a small encoder learns the similarities that a large one sees."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import heads
from cl_keras.encoders import as_encoder, image_size
from cl_keras.losses import softmax_over_codes
from cl_keras.negatives import KeyQueue
from cl_keras.similarity import at_least_float32, check_temperature, normalize
from cl_keras.training import checks
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, hits_of
from cl_keras.training.recipe import Recipe, ShareOfImages, small_recipe
from cl_keras.views import RandomViews
from cl_keras.views import moco_v2 as moco_v2_views

HEADS = {"mlp": heads.mlp, "linear": heads.linear}


@keras.saving.register_keras_serializable("cl_keras")
class SEED(ContrastiveModel):
    """SEED: Self-supervised Distillation for Visual Representation (Fang et al. 2021).

    A frozen teacher and the student with its head see the same view; `t` and `s` are their unit
    vectors, and the columns of Q are K vectors of the teacher from the batches before. The student
    is to find the view as similar to all of them, and to the teacher's own vector, as the teacher
    does:

        L = -Σ_k softmax([t·t, t·Q]/τ_T)_k · log softmax([s·t, s·Q]/τ_S)_k

    The teacher's vectors enter the queue after the step. The metric `contrastive_accuracy` is the
    share of views whose own teacher's vector is the one most like the student's.

    The teacher is part of the model and of its files, so that a loaded one can be trained on.

    Args:
        encoder: a `keras.Model` from images to vectors, the student; see `encoders.as_encoder`.
        teacher: a trained `keras.Model` of the same form, as `zoo.load` returns it; or any backbone
            that takes images from 0 to 255 and gives a vector or a map. It may want another size
            and other channels than the student: its views are resized and converted. It is frozen.
        views: what makes the views of a batch of images, one or more; each is compared with the
            teacher's own.
        head: `"mlp"` (two layers), `"linear"`, or a `keras.Model` to the teacher's width; default:
            `"mlp"`.
        queue_size: K; default: 65,536. It must not exceed the number of images.
        teacher_temperature: τ_T; default: 0.01, nearly the nearest vector alone.
        temperature: τ_S; default: 0.2.
        seed: of the views, and of the queue at the start; default: 0.

    Raises:
        ValueError: for a temperature that is not above 0.
    """

    recipes = {
        "published": Recipe(
            origin="jacobswan1/SEED README.md, main.py; Fang et al. 2021",
            batch_size=256,
            epochs=200,
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            options={"queue_size": ShareOfImages(0.5, most=65_536, whole_batches=True)},
        ),
        "small": small_recipe(
            options={"queue_size": ShareOfImages(0.4, most=16_384, whole_batches=True)}
        ),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        teacher: keras.Model,
        views: Callable,
        head: str | keras.Model = "mlp",
        queue_size: int = 65_536,
        teacher_temperature: float = 0.01,
        temperature: float = 0.2,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        self.teacher = as_encoder(teacher)
        self.teacher.trainable = False
        self.teacher_temperature = check_temperature(teacher_temperature)
        width = self.teacher.output_shape[-1]
        to_its_width: dict[str, Callable] = {
            name: functools.partial(build, output_dim=width) for name, build in HEADS.items()
        }
        self.head = self.build_head(head, to_its_width)
        if self.head.output_shape[-1] != width:
            raise ValueError(
                f"The head must lead to the {width} numbers of the teacher {teacher.name!r}; it "
                f"leads to {self.head.output_shape[-1]}."
            )
        self.queue = KeyQueue(queue_size, width, seed=seed)

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        each = [self._of_view(view, training) for view in batch["views"]]
        mean = sum(each[1:], each[0])
        return ((1.0 / len(each)) * mean).keep(tuple(one.kept for one in each))

    def _of_view(self, view, training):
        """The objective of one view, which keeps the teacher's vectors."""
        target = normalize(at_least_float32(self._taught(view)))
        student = self.head(self.encoder(view, training=training), training=training)
        student = normalize(at_least_float32(student))
        rows = tf.cast(self.queue.all_rows(), target.dtype)
        codes = tf.nn.softmax(_scores(target, target, rows) / self.teacher_temperature)
        scores = _scores(student, target, rows)
        loss = tf.reduce_mean(softmax_over_codes(codes, scores, self.temperature))
        own = tf.zeros_like(scores[:, 0], tf.int32)
        return Objective(loss, hits_of(own, scores)).keep(target)

    def _taught(self, view):
        """The teacher's vectors of a view `[b, h, w, c]`, without gradient."""
        view = _with_channels(view, self.teacher.input_shape[-1])
        size = image_size(self.teacher)
        if size is not None and size != view.shape[1]:
            view = tf.image.resize(view, [size, size])
        return tf.stop_gradient(self.teacher(view, training=False))

    def after_step(self, kept: Any) -> None:
        for rows in kept:  # view by view, so that N replicas fill the queue in one order
            self.queue.push(rows)

    def check_data(self, dataset: tf.data.Dataset) -> None:
        checks.check_queue(dataset, self.queue.size)

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> RandomViews:
        return RandomViews(moco_v2_views(image_size, channels, **changes).views[:1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "teacher": keras.saving.serialize_keras_object(self.teacher),
            "head": keras.saving.serialize_keras_object(self.head),
            "queue_size": self.queue.size,
            "teacher_temperature": self.teacher_temperature,
        }


def _scores(vectors, own, rows):
    """Cosines of unit vectors `[b, d]` with their own and with all rows, `[b, 1 + K]`."""
    with_own = tf.reduce_sum(vectors * own, axis=1, keepdims=True)
    return tf.concat([with_own, tf.matmul(vectors, rows, transpose_b=True)], axis=1)


def _with_channels(view, channels):
    """A view with the channels that a teacher wants: gray as color, or color as gray."""
    if view.shape[-1] == channels or channels is None:
        return view
    if view.shape[-1] == 1:
        return tf.repeat(view, channels, axis=-1)
    if channels == 1 and view.shape[-1] == 3:
        return tf.image.rgb_to_grayscale(view)
    raise ValueError(
        f"The teacher takes images of {channels} channels; the views have {view.shape[-1]}. Only "
        "gray and color are converted."
    )
