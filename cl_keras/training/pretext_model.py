"""What every method shares: the views, the objective, and the step."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf

from cl_keras import distribute
from cl_keras.data.order import as_int
from cl_keras.encoders import as_encoder
from cl_keras.spelling import did_you_mean
from cl_keras.training import checks, gradients
from cl_keras.training.objective import Objective
from cl_keras.training.recipe import MethodRecipe, Recipe, ScaledRecipe, make_optimizer
from cl_keras.training.trainable import Trainable
from cl_keras.views import simclr as simclr_views
from cl_keras.views.augmenter import as_views
from cl_keras.views.random_views import by_size


class PretextModel(Trainable):
    """A pretext task on views of images, trained with `fit`.

    A subclass writes one method, `objective`: from a batch to an `Objective`, a loss and what comes
    with it. This class makes the views, takes the gradient of the loss, applies it and counts the
    steps, on one device and under a strategy. A method that keeps something between steps, such as
    a queue, lets the objective carry it (`Objective.keep`) and stores it in `after_step`.

    `fit` and `evaluate` take images: a uint8 array, what `data.load` returns or its
    `.batches(...)`, or a `tf.data.Dataset` of `{"image"[, "index"]}` or of images; a dataset of
    `{"views"[, "index"]}` brings its views already made. `predict` and calling the model return the
    representations of images, `[b, d]`.

    The views of a step are a pure function of (seed, step, row of the global batch), and the steps
    are counted in `self.step`, which is saved with the weights; so a run can be resumed exactly.

    Args:
        encoder: a `keras.Model` from images to vectors, or to a feature map, which is pooled.
        views: a callable `(images, seed, step, first_row) -> views` with `image_size`; a Keras
            model that augments images, which is then called for each of two views; or None for one
            view, the images as they are.
        seed: of the views; default: 0.
        gradient_accumulation: number of micro-batches in which a step takes its batch, one after
            the other, to save memory; default: 1. The gradient is the mean over all. Random draws
            and what is kept are those of the whole batch, so a method whose negatives come from
            elsewhere learns as it would without; negatives from the batch come from the
            micro-batch, and so do the statistics of batch normalization.

    Raises:
        ValueError: for fewer than one micro-batch, or an encoder that gives no vector.
    """

    accuracy_name: str | None = None
    """Name of the metric that counts `Objective.hits`; None for a method that has no hits."""

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable | None,
        seed: int = 0,
        gradient_accumulation: int = 1,
        **kwargs,
    ):
        # Autocasting would round images of 0..255 to half precision.
        super().__init__(autocast=False, **kwargs)
        self.encoder = as_encoder(encoder)
        checks.check_scope(self.encoder.variables, tf.distribute.get_strategy())
        self.views: Any = None if views is None else as_views(views)
        checks.check_view_sizes(self.encoder, self.views)
        self.seed = as_int(seed, "seed")
        if gradient_accumulation < 1:
            raise ValueError(
                "gradient_accumulation must be at least 1, which takes the batch as a whole; "
                f"received {gradient_accumulation!r}."
            )
        self.gradient_accumulation = int(gradient_accumulation)
        self.step = self.add_weight(
            name="step",
            shape=[],
            dtype="int64",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self.last_gradient_norm = gradients.LastNorm()
        self.loss_metric = keras.metrics.Mean("loss")
        self.accuracy_metric = (
            keras.metrics.Mean(self.accuracy_name) if self.accuracy_name else None
        )
        self.built = True

    # What a subclass writes: `objective`, and of the rest what it needs.

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        """The pretext task, as the formula of its paper.

        Args:
            batch: `"views"`, what `self.views` made of the images of this replica; `"index"`, int64
                `[b]`, and `"label"` where the dataset has them; and everything else that its
                elements hold.
            training: whether this is a training step.
        """
        raise NotImplementedError(f"{type(self).__name__} must define objective(batch, training).")

    def before_step(self) -> None:
        """Updates what changes before each training step, such as a momentum encoder."""

    def after_step(self, kept: Any) -> None:
        """Updates what changes after each training step, such as a queue or a bank.

        Args:
            kept: what the objective kept of this replica's batch; None if nothing.
        """

    def recluster(self, batches: tf.data.Dataset, epoch: int) -> None:
        """Called by `clustering.Recluster` before an epoch, where `method_callbacks` has it.

        Args:
            batches: one epoch of the dataset that `fit` was given.
            epoch: number of finished epochs.
        """

    def check_data(self, dataset: tf.data.Dataset) -> None:
        """Refuses images with which the method would go wrong, before an hour is lost.

        Args:
            dataset: the dataset of batches that `fit` was given; a `Batches`, which knows its
                source, if it came from `data.load`.

        Raises:
            ValueError: with what to change.
        """

    def method_callbacks(self, batches: tf.data.Dataset) -> list[keras.callbacks.Callback]:
        """Callbacks that the method itself needs in `fit`, such as one that clusters.

        Args:
            batches: the dataset that `fit` was given, one epoch.
        """
        return []

    encoder_norm: ClassVar[str] = "batch"
    """Kind of normalization that a ResNet for this method has; see `encoders.resnet50`."""

    recipes: ClassVar[dict[str, Recipe]] = {}
    """How the method is trained: `"published"` as by its authors, `"small"`, and perhaps others."""

    @classmethod
    def scaled_recipe(cls, *, preset: str = "published", **scale) -> ScaledRecipe:
        """The settings of a recipe, for a number of images.

        Args:
            preset: name of one of `recipes`.
            **scale: arguments of `Recipe.scaled`.

        Raises:
            ValueError: if the method has no such recipe.
        """
        if preset not in cls.recipes:
            raise ValueError(
                f"{cls.__name__} has no recipe {preset!r}.{did_you_mean(preset, cls.recipes)} "
                f"It has {', '.join(cls.recipes) or 'none'}."
            )
        return cls.recipes[preset].scaled(**scale)

    @classmethod
    def recipe(
        cls,
        *,
        images: int,
        image_size: int,
        channels: int = 3,
        batch_size: int | None = None,
        epochs: int | None = None,
        preset: str = "published",
    ) -> MethodRecipe:
        """Everything that a recipe of the method says, for images of a number, size and kind.

            recipe = cl.MoCo.recipe(images=len(photos), image_size=96, epochs=100)
            encoder = cl.encoders.resnet18(image_size=96, **recipe.encoder_options)
            model = cl.MoCo(encoder, views=recipe.views, **recipe.options)
            model.compile(recipe.optimizer)
            model.fit(photos, batch_size=recipe.batch_size, epochs=recipe.epochs)

        Args:
            images: number of images.
            image_size: side of the images in pixels.
            channels: of the images; default: 3.
            batch_size: images per step; default: that of the recipe, at most 256.
            epochs: passes over the images; default: those of the recipe.
            preset: name of one of `recipes`; default: `"published"`.

        Raises:
            ValueError: if the method has no such recipe.
        """
        settings = cls.scaled_recipe(
            preset=preset,
            images=images,
            image_size=image_size,
            batch_size=batch_size,
            epochs=epochs,
        )
        memory = "num_images" in inspect.signature(cls).parameters
        return MethodRecipe(
            views=cls.default_views(image_size, channels, **settings.views),
            options=({"num_images": images} if memory else {}) | settings.method_options,
            optimizer=make_optimizer(settings, max(1, images // settings.batch_size)),
            encoder_options={
                "zero_init_residual": settings.zero_init_residual,
                "norm": cls.encoder_norm,
            },
            batch_size=settings.batch_size,
            epochs=settings.epochs,
        )

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> Callable:
        """The views that the method was published with, for images of a size and kind.

        Args:
            image_size: side in pixels.
            channels: number of channels; default: 3.
            **changes: arguments of the views' class to replace.
        """
        return simclr_views(image_size, channels, **changes)

    # What a subclass may use.

    def build_head(
        self,
        head: str | keras.Model,
        presets: dict[str, Callable],
        encoder: keras.Model | None = None,
    ) -> keras.Model:
        """A head named in `presets`, built for an encoder's width; or a model, checked."""
        encoder = encoder or self.encoder
        width = encoder.output_shape[-1]
        if isinstance(head, str) and head in presets:
            return presets[head](width)
        if isinstance(head, keras.Model) and head.built:
            if head.input_shape[-1] == width:
                return head
            raise ValueError(
                f"The head must take the {width} features of the encoder {encoder.name!r}; "
                f"it takes {head.input_shape[-1]}."
            )
        raise ValueError(
            f"head must be one of {list(presets)} or a built keras.Model; received {head!r}."
        )

    def encode_views(self, views: tuple, training: bool) -> list[tf.Tensor]:
        """The projection of each view, `[b, d]`.

        Views of one size pass the encoder as one batch, and all pass the head as one, so that
        batch normalization sees all of them.
        """
        passes = [self.encoder(tf.concat(same, 0), training=training) for same in by_size(views)]
        z = self.head(tf.concat(passes, axis=0), training=training)
        return tf.split(z, len(views), axis=0)

    def encode_patches(self, patches: tf.Tensor, training: bool) -> tf.Tensor:
        """The representation of each patch of each image, `[b, n, h, w, C]` to `[b, n, d]`."""
        flat = tf.reshape(patches, [-1, *patches.shape[2:]])
        features = self.encoder(flat, training=training)
        return tf.reshape(features, [-1, patches.shape[1], features.shape[-1]])

    def make_batch(self, data: Any, seed: int, step: int | tf.Tensor) -> dict[str, Any]:
        """An element of the dataset with its images made into views, as `objective` takes it."""
        data = data[0] if isinstance(data, tuple) else data
        data = dict(data) if isinstance(data, dict) else {"image": data}
        images, crops = data.pop("image", None), data.pop("crops", None)
        if "views" in data:
            return data | {"views": tuple(data["views"])}
        if self.views is None:
            return data | {"views": (images,)}
        make = self.views if crops is None else self.views.finish
        given = images if crops is None else crops
        first_row = distribute.first_row(tf.shape(tf.nest.flatten(given)[0])[0])
        return data | {"views": make(given, seed=seed, step=step, first_row=first_row)}

    # The step.

    def call(self, images, training=False):
        return self.encoder(images, training=training)

    def train_step(self, data):
        batch = self.make_batch(data, self.seed, self.step.value)
        self.before_step()
        summed, kept = gradients.accumulate(self._gradients, batch, self.gradient_accumulation)
        self.last_gradient_norm.keep(self.optimizer, summed)
        gradients.apply(self.optimizer, summed, self.trainable_variables)
        self.after_step(kept)
        self.step.assign_add(1)
        return self.get_metrics_result()

    def _gradients(self, batch):
        """Gradients of this replica's and micro-batch's share of the loss; what is to be kept."""
        with tf.GradientTape() as tape:
            objective = self.objective(batch, training=True)
            loss = objective.loss + self._regularization(objective.loss.dtype)
            # Gradients are summed over replicas and micro-batches: each adds its share of the mean.
            share = loss / (distribute.num_replicas() * self.gradient_accumulation)
            share = self.optimizer.scale_loss(share)
        self._update_metrics(batch, loss, objective.hits)
        return tape.gradient(share, self.trainable_variables), objective.kept

    def test_step(self, data):
        # Another seed than in training, and one step: the same views at every evaluation.
        batch = self.make_batch(data, self.seed + 1, 0)
        objective = self.objective(batch, training=False)
        self._update_metrics(batch, objective.loss, objective.hits)
        return self.get_metrics_result()

    def predict_step(self, data):
        data = data[0] if isinstance(data, tuple) else data
        return self(data["image"] if isinstance(data, dict) else data, training=False)

    def _regularization(self, dtype):
        return tf.cast(tf.add_n(self.losses), dtype) if self.losses else 0.0

    def _update_metrics(self, batch, loss, hits):
        # Of the global batch, so that a checkpoint needs to know the metrics of one replica only;
        # weighted by images, so that a smaller last batch counts for what it holds.
        loss = distribute.sum_over_replicas(loss) / distribute.num_replicas()
        rows = tf.shape(tf.nest.flatten(batch["views"])[0])[0]
        self.loss_metric.update_state(loss, sample_weight=rows)
        if self.accuracy_metric is not None and hits is not None:
            hits = distribute.gather(hits)
            self.accuracy_metric.update_state(hits[:, 0], sample_weight=hits[:, 1])

    @property
    def metrics(self):
        return [m for m in (self.loss_metric, self.accuracy_metric) if m is not None]

    # Files.

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": serialize(self.dtype_policy),
            "encoder": serialize(self.encoder),
            "views": serialize(self.views),
            "seed": self.seed,
            "gradient_accumulation": self.gradient_accumulation,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        deserialize = keras.saving.deserialize_keras_object
        built = {
            key: deserialize(value, custom_objects) if isinstance(value, dict) else value
            for key, value in config.items()
        }
        return cls(**built)
