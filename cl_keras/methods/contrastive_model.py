"""What every contrastive method shares: the step, the loop, and what `fit` accepts."""

import keras
import tensorflow as tf

from cl_keras import distribute, losses
from cl_keras.data import Batches
from cl_keras.encoders import as_encoder
from cl_keras.losses.info_nce import check_temperature
from cl_keras.methods import checks, gradients, inputs, taken_up
from cl_keras.methods.step_loop import StopOnNonFiniteLoss, step_loop
from cl_keras.views import simclr as simclr_views
from cl_keras.views.multi_crop import by_size


class ContrastiveModel(keras.Model):
    """A pretext task on views of images, trained with `fit`.

    A subclass writes `contrast`: from the views of a batch to `(targets, scores)`, for each query
    which candidate is right, and how similar every candidate is. This class makes the views, takes
    the gradient of the loss, applies it, and counts the steps, on one device and under a strategy.
    Where a method keeps something between steps, a queue say, `contrast` also returns what is to be
    remembered, and `advance` puts it away.

    `fit` and `evaluate` take images: a uint8 array, what `data.load` gives or its `.batches(...)`,
    or a `tf.data.Dataset` of `{"image"[, "index"]}` or of images; a dataset of
    `{"views"[, "index"]}` has its views made already. `predict` and calling the model give the
    representations of images, `[B, D]`.

    The views of a step are a pure function of (seed, step, row of the global batch), and the steps
    are counted in `self.step`, which is saved with the weights; so a run can be resumed exactly.

    Args:
        encoder: a `keras.Model` from images to vectors, or to a map that can be pooled.
        views: a callable `(images, seed, step, first_row) -> views` with `image_size`.
        temperature: τ of the loss, above 0.
        seed: of the views.
        gradient_accumulation: number of parts in which a step takes its batch, one after the other,
            to save memory. The gradient is the mean over all. Random draws and what is remembered
            are those of the whole batch, so a method whose negatives come from elsewhere learns as
            it would without; negatives from the batch come from the part, and so do the statistics
            of batch normalisation.

    Raises:
        ValueError: for a temperature not above 0, less than one part, or an encoder that gives no
            vector.
    """

    def __init__(self, encoder, *, views, temperature, seed=0, gradient_accumulation=1, **kwargs):
        # Autocasting would round images of 0..255 to half precision.
        super().__init__(autocast=False, **kwargs)
        self.encoder = as_encoder(encoder)
        self.views = views
        self.temperature = check_temperature(temperature)
        self.seed = int(seed)
        if gradient_accumulation < 1:
            raise ValueError(
                "gradient_accumulation must be at least 1, for the batch as a whole; received "
                f"{gradient_accumulation!r}."
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
        self.loss_metric = keras.metrics.Mean("loss")
        self.accuracy_metric = keras.metrics.Mean("contrastive_accuracy")
        self.built = True

    # What a subclass writes.

    def prepare(self):
        """Moves what moves before a training step: an encoder of keys, say. Here nothing does."""

    def contrast(self, views, index, training):
        """The pretext task.

        Args:
            views: what `self.views` made of the images of this replica.
            index: int64 `[b]`, place of each image in its data set, or None.
            training: whether this is a training step.

        Returns:
            targets: int `[n]`, the right candidate of each query. Where `query_losses` takes them,
            also soft ones, float `[n, m]`, and -1 for a query that has none.
            scores: `[n, m]` cosines; `-inf` leaves a candidate out.
            remembered (may be left out): a structure of tensors `[b, ...]` for `advance`, without
            gradient. They are handed over, and not kept in an attribute, since replicas share the
            attributes.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it contrasts.")

    def query_losses(self, targets, scores):
        """The loss of each query, `[n]`; here InfoNCE with the method's temperature."""
        return losses.softmax_over_candidates(targets, scores, self.temperature)

    def advance(self, remembered):
        """Moves what moves after a training step: a queue, a bank. Here nothing does.

        Args:
            remembered: what `contrast` returned as third, from this replica; or None.
        """

    def check_data(self, dataset):
        """Refuses images with which the method would go wrong, before an hour is lost.

        Args:
            dataset: the `tf.data.Dataset` of batches that `fit` was given; a `Batches`, which
                knows its source, where it came from `data.load`.

        Raises:
            ValueError: with what to change.
        """

    def own_callbacks(self, batches):
        """Callbacks that the method itself needs in `fit`, such as one that clusters.

        Args:
            batches: the `tf.data.Dataset` that `fit` was given, one epoch.
        """
        return []

    @classmethod
    def default_views(cls, image_size, channels=3, **changes):
        """The views that the method was published with, for a size and kind of image.

        Args:
            image_size: side in pixels.
            channels: 1 or 3.
            **changes: arguments of the views' class to replace.
        """
        return simclr_views(image_size, channels, **changes)

    # What a subclass may use.

    def build_head(self, head, presets):
        """A head by name from `presets`, made for this encoder's width, or a model, checked."""
        width = self.encoder.output_shape[-1]
        if isinstance(head, str) and head in presets:
            return presets[head](width)
        if isinstance(head, keras.Model) and head.built:
            if head.input_shape[-1] == width:
                return head
            raise ValueError(
                f"The head must take the {width} features of the encoder {self.encoder.name!r}; "
                f"it takes {head.input_shape[-1]}."
            )
        raise ValueError(
            f"head must be one of {list(presets)} or a built keras.Model; received {head!r}."
        )

    def encode_views(self, views, training):
        """The projection of each view, `[b, d]`.

        Views of one size pass the encoder as one batch, and all pass the head as one, so that
        batch normalisation sees all of them.
        """
        passes = [self.encoder(tf.concat(same, 0), training=training) for same in by_size(views)]
        z = self.head(tf.concat(passes, axis=0), training=training)
        return tf.split(z, len(views), axis=0)

    # The step.

    def call(self, images, training=False):
        return self.encoder(images, training=training)

    def train_step(self, data):
        views, index = self._views_of(data, self.seed, self.step.value)
        self.prepare()
        slopes, remembered = gradients.in_parts(
            self._gradients, (views, index), self.gradient_accumulation
        )
        gradients.apply(self.optimizer, slopes, self.trainable_variables)
        self.advance(remembered)
        self.step.assign_add(1)
        return {metric.name: metric.result() for metric in self.metrics}

    def _gradients(self, views, index):
        """Gradients of this replica's and this part's share of the loss; what is to be kept."""
        with tf.GradientTape() as tape:
            targets, scores, *remembered = self.contrast(views, index, training=True)
            losses_ = self.query_losses(targets, scores)
            loss = tf.reduce_mean(losses_) + self._regularisation(losses_.dtype)
            # Gradients are summed over replicas and parts: each adds its share of the mean.
            share = loss / (distribute.num_replicas() * self.gradient_accumulation)
            share = self.optimizer.scale_loss(share)
        self._update_metrics(loss, targets, scores)
        return tape.gradient(share, self.trainable_variables), *(remembered or [None])

    def test_step(self, data):
        # Another seed than in training, and one step: the same views at every evaluation.
        views, index = self._views_of(data, self.seed + 1, 0)
        targets, scores, *_ = self.contrast(views, index, training=False)
        losses_ = self.query_losses(targets, scores)
        self._update_metrics(tf.reduce_mean(losses_), targets, scores)
        return {metric.name: metric.result() for metric in self.metrics}

    def predict_step(self, data):
        data = data[0] if isinstance(data, tuple) else data
        return self(data["image"] if isinstance(data, dict) else data, training=False)

    def _views_of(self, data, seed, step):
        data = data[0] if isinstance(data, tuple) else data
        data = data if isinstance(data, dict) else {"image": data}
        index = data.get("index")
        if "views" in data:
            return tuple(data["views"]), index
        images = data["image"]
        first_row = distribute.first_row(tf.shape(images)[0])
        return self.views(images, seed=seed, step=step, first_row=first_row), index

    def _regularisation(self, dtype):
        return tf.cast(tf.add_n(self.losses), dtype) if self.losses else 0.0

    def _update_metrics(self, loss, targets, scores):
        best = tf.argmax(scores, axis=1, output_type=tf.int32)
        soft = targets.dtype.is_floating
        targets = tf.argmax(targets, 1, tf.int32) if soft else tf.cast(targets, tf.int32)
        # Of the global batch, so that a checkpoint needs to know the metrics of one replica only.
        self.loss_metric.update_state(
            distribute.sum_over_replicas(loss) / distribute.num_replicas()
        )
        hits = tf.cast(tf.stack([best == targets, targets >= 0], axis=1), tf.float32)
        hits = distribute.gather(hits)
        self.accuracy_metric.update_state(hits[:, 0], hits[:, 1])

    @property
    def metrics(self):
        return [self.loss_metric, self.accuracy_metric]

    # The loop.

    epoch_goes_on = False
    """Whether the metrics keep what they have when the next epoch begins; see `initial_batch`."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Of several workers, Keras would take the mean of a batch of images, and fails; all to
        # build what is built already.
        pass

    def make_train_function(self, force=False):
        if self.train_function is None or force:
            self._check_compiled()
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)
            self.train_function = step_loop(self, self.train_step)
        return self.train_function

    def _check_compiled(self):
        if self.loss is not None:
            raise ValueError(
                f"{type(self).__name__} brings its own loss; call compile(optimizer) without one "
                f"(received loss={self.loss!r})."
            )
        replicas = self.distribute_strategy.num_replicas_in_sync
        gradients.check_optimizer(self.optimizer, replicas)

    def make_test_function(self, force=False):
        if self.test_function is None or force:
            self.test_function = step_loop(self, self.test_step)
        return self.test_function

    def fit(
        self,
        x=None,
        *,
        batch_size=None,
        epochs=1,
        initial_epoch=0,
        initial_batch=0,
        callbacks=None,
        validation_data=None,
        steps_per_epoch=None,
        **kwargs,
    ):
        """Train on images; as `keras.Model.fit`, without labels.

        The order of the images and their views depend on the seeds and the epoch alone: a run that
        is taken up at `initial_epoch` and `initial_batch` with restored variables goes on as if
        never interrupted. See `runs.Checkpoints` for how to.

        Args:
            x: images, in one of the forms named above.
            batch_size: global batch size for an array or a source; default 256.
            epochs: number of the last epoch.
            initial_epoch: epochs that are done.
            initial_batch: batches of the epoch after them that are done. The metrics go on from
                their present values, so that the logs are those of the whole epoch.
            callbacks: list of `keras.callbacks.Callback`. Those that are contexts, with
                `__enter__` and `__exit__`, are entered before and left after, an error too.
            validation_data: images for `evaluate` after each epoch.
            steps_per_epoch: where `x` is a dataset without end.
            **kwargs: as for `keras.Model.fit`.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: for images in another form, a batch of one image, a batch that the
                replicas do not divide, or an `initial_batch` at which no step begins.
            FloatingPointError: when the loss is not finite, with the place.
        """
        x = self._image_batches(x, batch_size, shuffle=True)
        self.check_data(x)
        own = self.own_callbacks(x.take(steps_per_epoch) if steps_per_epoch else x)
        steps = int(steps_per_epoch or x.cardinality())
        taken_up.check_place(initial_batch, steps, self.steps_per_execution)
        if isinstance(x, Batches) or initial_batch:
            steps_per_epoch = steps
        if validation_data is not None:
            validation_data = self._image_batches(validation_data, batch_size, shuffle=False)
            validation_data = inputs.for_workers(self.distribute_strategy, validation_data)
        callbacks = [StopOnNonFiniteLoss(), *own, *(callbacks or [])]
        with taken_up.entered(callbacks) as stack:
            if initial_batch:
                callbacks = taken_up.TakenUp(
                    callbacks,
                    model=self,
                    batch=initial_batch,
                    epochs=epochs,
                    steps=steps,
                    verbose=kwargs.get("verbose", "auto"),
                )
                stack.enter_context(callbacks.passing())
            return super().fit(
                inputs.for_workers(
                    self.distribute_strategy,
                    x,
                    lambda x: taken_up.from_place(x, initial_epoch, initial_batch, steps),
                ),
                epochs=epochs,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=False,  # the data set has its order already
                **kwargs,
            )

    def reset_metrics(self):
        if not self.epoch_goes_on:
            super().reset_metrics()

    def evaluate(self, x=None, *, batch_size=None, **kwargs):
        """The loss and the contrastive accuracy on held-out images; no state moves."""
        if not isinstance(x, (type(None), tf.distribute.DistributedDataset)):
            x = self._image_batches(x, batch_size, shuffle=False)
            x = inputs.for_workers(self.distribute_strategy, x)
        return super().evaluate(x, **kwargs)

    def _image_batches(self, x, batch_size, *, shuffle):
        """Any form of images as a dataset of batches, checked."""
        batches = inputs.image_batches(x, batch_size, seed=self.seed, shuffle=shuffle)
        replicas = self.distribute_strategy.num_replicas_in_sync
        checks.check_batches(batches, self.encoder, replicas, self.gradient_accumulation)
        return batches

    # Files.

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": serialize(self.dtype_policy),
            "encoder": serialize(self.encoder),
            "views": serialize(self.views),
            "temperature": self.temperature,
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
