"""Models that are quickly built and learn a little, for tests of everything around them."""

import keras
import tensorflow as tf

from cl_keras import views
from cl_keras.encoders.preprocessing import preprocessing
from cl_keras.encoders.resnet import basic_block, conv_norm
from cl_keras.methods import SimCLR

IMAGE_SIZE = 12
VIEWS = views.simclr(IMAGE_SIZE, channels=1)
"""Shared, so that its compiled function is compiled once."""


def tiny_encoder(channels=1):
    """Two convolutions and a shortcut, 16 features, for images of 12 pixels."""
    inputs = keras.Input([None, None, channels], name="images")
    x = preprocessing(channels, IMAGE_SIZE)(inputs)
    x = conv_norm(x, 8, 3, stride=2, name="stem")
    x = basic_block(x, 16, stride=2, name="block")
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="tiny")


def tiny_simclr(optimizer=None, **options):
    """A compiled SimCLR on the tiny encoder, with the same weights each time."""
    keras.utils.set_random_seed(0)
    options = {"views": VIEWS, "temperature": 0.2} | options
    model = SimCLR(tiny_encoder(), **options)
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9))
    return model


def places_in_memory(model, variable, dataset):
    """Addresses of a variable's values at the end of each batch: one, if no step copies it."""
    seen = set()

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.add(tf.convert_to_tensor(variable.value).__array__().ctypes.data)

    model.fit(dataset, epochs=3, verbose=0, callbacks=[Look()])
    return seen
