import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import views
from cl_keras.encoders import as_encoder
from cl_keras.methods import SEED
from tests.conformance.replicas import images as eighty_images
from tests.tiny import IMAGE_SIZE, VIEWS, tiny_encoder

ONE_VIEW = SEED.default_views(IMAGE_SIZE, channels=1)


def tiny_seed(optimizer=None, **options):
    keras.utils.set_random_seed(0)
    options = {"queue_size": 24, "views": ONE_VIEW, "teacher": tiny_encoder()} | options
    model = SEED(tiny_encoder(), seed=1, **options)
    model.compile(optimizer or keras.optimizers.SGD(0.05))
    return model


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def paper(s, t, queue, student_temperature, teacher_temperature):
    """Equations 2 to 4 of the paper, by loops over images and candidates."""
    losses = []
    for own_s, own_t in zip(s, t, strict=True):
        candidates = [own_t, *queue]
        p = np.exp([(own_t @ c - 1) / teacher_temperature for c in candidates])
        q = np.exp([own_s @ c / student_temperature for c in candidates])
        p, q = p / p.sum(), q / q.sum()
        losses.append(-sum(a * np.log(b) for a, b in zip(p, q, strict=True)))
    return np.mean(losses)


@pytest.mark.parametrize("made", [ONE_VIEW, VIEWS], ids=["one view", "two views"])
def test_a_step_is_the_paper_in_numpy(made, images, float64):
    """The loss of the first step, and the queue after it, from s, t and the queue."""
    options = {"views": made, "temperature": 0.3, "teacher_temperature": 0.07}
    model, twin = tiny_seed(**options), tiny_seed(**options)
    batch = images[:8]
    queue, losses, kept = twin.queue.keys.numpy(), [], []
    for view in made(batch, seed=1, step=0):
        s = unit(twin.head(twin.encoder(view, training=True)).numpy())
        t = unit(twin.teacher(view, training=False).numpy())
        losses.append(paper(s, t, queue, 0.3, 0.07))
        kept.append(t)
    history = model.fit(tf.data.Dataset.from_tensors({"image": batch}), verbose=0).history
    np.testing.assert_allclose(history["loss"], [np.mean(losses)], rtol=0, atol=1e-10)
    kept = np.concatenate(kept)
    np.testing.assert_allclose(model.queue.keys[: len(kept)], kept, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(model.queue.keys[len(kept) :], queue[len(kept) :])


def test_the_student_learns_and_the_teacher_does_not(images):
    teacher = tiny_encoder()
    before = [v.numpy() for v in teacher.variables]
    model = tiny_seed(teacher=teacher)
    assert model.teacher is teacher and not teacher.trainable_variables
    model.fit(images, batch_size=16, epochs=2, verbose=0)
    for variable, value in zip(teacher.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_views_are_converted_for_the_teacher():
    """Gray views of 12 pixels, for a teacher that returns the mean of each color."""
    inputs = keras.Input([6, 6, 3])
    teacher = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    model = tiny_seed(teacher=teacher)
    view = tf.random.stateless_uniform([4, 12, 12, 1], [1, 2], 0, 255)
    expected = np.repeat(view.numpy().mean(axis=(1, 2)), 3, axis=1)
    smooth = tf.image.resize(tf.image.resize(view, [6, 6]), [12, 12])
    np.testing.assert_allclose(model._taught(smooth), expected, rtol=0.05)
    assert model._taught(view).shape == (4, 3)


def test_color_becomes_gray_and_other_channels_are_refused():
    teacher = as_encoder(tiny_encoder())
    keras.utils.set_random_seed(0)
    made = views.simclr(IMAGE_SIZE, channels=3)
    model = SEED(tiny_encoder(channels=3), teacher=teacher, views=made, queue_size=8)
    color = tf.random.stateless_uniform([2, 12, 12, 3], [1, 2], 0, 255)
    gray = color.numpy() @ np.array([[0.2989], [0.5870], [0.1140]])
    np.testing.assert_allclose(model._taught(color), teacher(gray), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="takes images of 1 channels; the views have 4"):
        model._taught(tf.zeros([2, 12, 12, 4]))


def test_the_student_learns_what_the_teacher_sees():
    """It finds the teacher's vector of an unseen view among 48 others; untrained, it does not."""
    inputs = keras.Input([IMAGE_SIZE, IMAGE_SIZE, 1])
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5, -1.0)(inputs))
    teacher = keras.Model(inputs, keras.layers.Dense(16)(x))
    images = eighty_images()
    model = tiny_seed(keras.optimizers.Adam(0.003), queue_size=48, teacher=teacher)
    untrained = tiny_seed(queue_size=48, teacher=teacher)
    model.fit(images[:64], batch_size=16, epochs=30, verbose=0)
    untrained.queue.keys.assign(model.queue.keys)
    found, chance = (
        one.evaluate(images[64:], batch_size=16, return_dict=True, verbose=0)
        for one in (model, untrained)
    )
    assert found["loss"] < 0.8 * chance["loss"]
    assert found["contrastive_accuracy"] > 0.2 > chance["contrastive_accuracy"]


def test_a_head_of_another_width_is_refused():
    head = keras.Sequential([keras.Input([16]), keras.layers.Dense(5)])
    with pytest.raises(ValueError, match="must lead to the 16 numbers of the teacher 'tiny'; it"):
        tiny_seed(head=head)
