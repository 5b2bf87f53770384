"""The base of every method: the views, the objective, and the step."""

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

    A subclass defines one method, `objective`, which maps a batch to an `Objective`. This class
    makes the views, computes and applies the gradient of the loss, and counts the steps, on one
    device and under a strategy. A method that keeps something between steps, such as a queue, adds
    it to the objective (`Objective.keep`) and stores it in `after_step`.

    `fit` and `evaluate` take images: a uint8 array, a source that `data.load` returns or its
    `.batches(...)`, or a `tf.data.Dataset` of `{"image"[, "index"]}` or of images; a dataset of
    `{"views"[, "index"]}` holds views that are already made. `predict` and calling the model return
    the representations of images, `[b, d]`.

    The views of a step are a pure function of (seed, step, row of the global batch). The steps are
    counted in `self.step`, which is saved with the weights, so a run can be resumed exactly.

    Args:
        encoder: a `keras.Model` from images to vectors, or to a feature map, which is pooled.
        views: a callable `(images, seed, step, first_row) -> views` with `image_size`; a Keras
            model that augments images, which is called once for each of two views; or None for a
            single view, the images as they are.
        seed: of the views; default: 0.
        gradient_accumulation: number of micro-batches into which a step splits its batch to save
            memory; default: 1. The gradient is the mean over them. Random draws and kept tensors
            are those of the whole batch, so a method with negatives from elsewhere learns the same;
            negatives within the batch, and batch statistics, come from the micro-batch.

    Raises:
        ValueError: for fewer than one micro-batch, or an encoder whose output is not a vector.
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
                "gradient_accumulation must be at least 1, which processes the batch as a whole; "
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

    # A subclass defines `objective`, and overrides the others as needed.

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        """The pretext task, as the formula of its paper.

        Args:
            batch: `"views"`, the views that `self.views` made of this replica's images; `"index"`,
                int64 `[b]`, and `"label"` if the dataset has them; and everything else that its
                elements hold.
            training: whether this is a training step.
        """
        raise NotImplementedError(f"{type(self).__name__} must define objective(batch, training).")

    def before_step(self) -> None:
        """Called before each training step, for example to update a momentum encoder."""

    def after_step(self, kept: Any) -> None:
        """Called after each training step, for example to update a queue or a bank.

        Args:
            kept: what the objective kept of this replica's batch, or None.
        """

    def recluster(self, batches: tf.data.Dataset, epoch: int) -> None:
        """Called by `clustering.Recluster` before an epoch, if `method_callbacks` includes it.

        Args:
            batches: one epoch of the dataset that `fit` was given.
            epoch: number of finished epochs.
        """

    def check_data(self, dataset: tf.data.Dataset) -> None:
        """Refuses data that the method cannot learn from, before training begins.

        Args:
            dataset: the dataset of batches that `fit` was given; a `Batches`, which knows its
                source, if it came from `data.load`.

        Raises:
            ValueError: the message says what to change.
        """

    def method_callbacks(self, batches: tf.data.Dataset) -> list[keras.callbacks.Callback]:
        """Callbacks that the method itself needs in `fit`, such as one that clusters.

        Args:
            batches: one epoch of the dataset that `fit` was given.
        """
        return []

    encoder_norm: ClassVar[str] = "batch"
    """The kind of normalization that this method needs in a ResNet; see `encoders.resnet50`."""

    recipes: ClassVar[dict[str, Recipe]] = {}
    """Training recipes by name: `"published"`, the authors' own, `"small"`, and perhaps others."""

    @classmethod
    def scaled_recipe(cls, *, preset: str = "published", **scale) -> ScaledRecipe:
        """The settings of a recipe, scaled to a number of images.

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
        """Everything needed to train the method by one of its recipes, scaled to the data.

            recipe = cl.MoCo.recipe(images=len(photos), image_size=96, epochs=100)
            encoder = cl.encoders.resnet18(image_size=96, **recipe.encoder_options)
            model = cl.MoCo(encoder, views=recipe.views, **recipe.options)
            model.compile(recipe.optimizer)
            model.fit(photos, batch_size=recipe.batch_size, epochs=recipe.epochs)

        Args:
            images: number of images.
            image_size: side of the images in pixels.
            channels: number of channels of the images; default: 3.
            batch_size: images per step; default: that of the recipe, at most 256.
            epochs: passes over the images; default: as in the recipe.
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
        """The views that the method was published with.

        Args:
            image_size: side of the images in pixels.
            channels: number of channels; default: 3.
            **changes: arguments of the views' class to override.
        """
        return simclr_views(image_size, channels, **changes)

    # For use by subclasses.

    def build_head(
        self,
        head: str | keras.Model,
        presets: dict[str, Callable],
        encoder: keras.Model | None = None,
    ) -> keras.Model:
        """A head named in `presets`, built for an encoder's width; or the given model, checked."""
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

        Views of the same size go through the encoder as one batch, and all views go through the
        head as one batch, so that batch normalization sees all of them.
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
        """An element of the dataset, its images replaced by views, as `objective` takes it."""
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
        # Writing rows of a queue or a bank while they are read would copy all of it.
        with tf.control_dependencies([each for each in summed if each is not None]):
            self.after_step(kept)
        self.step.assign_add(1)
        return self.get_metrics_result()

    def _gradients(self, batch):
        """The gradients of this micro-batch's share of the loss, and the tensors to keep."""
        with tf.GradientTape() as tape:
            objective = self.objective(batch, training=True)
            loss = objective.loss + self._regularization(objective.loss.dtype)
            # Gradients are summed over replicas and micro-batches: each adds its share of the mean.
            share = loss / (distribute.num_replicas() * self.gradient_accumulation)
            share = self.optimizer.scale_loss(share)
        self._update_metrics(batch, loss, objective.hits)
        return tape.gradient(share, self.trainable_variables), objective.kept

    def test_step(self, data):
        # A different seed than in training, and a fixed step: the same views in every evaluation.
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
        # Over the global batch, so that a checkpoint only needs the metrics of one replica; and
        # weighted by images, so that a smaller last batch counts less.
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

    def get_config(self) -> dict[str, Any]:
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
