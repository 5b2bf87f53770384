import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data
from cl_keras.methods import SimCLR, SupCon
from tests.tiny import VIEWS, tiny_encoder


def tiny(method, **options):
    tf.keras.utils.set_random_seed(0)
    model = method(tiny_encoder(), views=VIEWS, head="v1" if method is SimCLR else "mlp", **options)
    model.compile("sgd")
    return model


def by_loops(z, labels, temperature):
    """Equation 2 of the paper; for -1 only the other view of the same image is positive."""
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    count, images = len(z), len(labels)
    total = 0
    for i in range(count):
        everyone = [a for a in range(count) if a != i]
        own, label = i % images, labels[i % images]
        positives = [
            a for a in everyone if a % images == own or (label >= 0 and labels[a % images] == label)
        ]
        scores = np.array([z[i] @ z[a] / temperature for a in everyone])
        spread = np.log(np.exp(scores).sum())
        total -= np.mean([z[i] @ z[p] / temperature - spread for p in positives])
    return total / count


@pytest.mark.parametrize("labels", [[0, 1, 0, 2, 1, 0], [3, -1, -1, 3, 3, -1]])
def test_the_loss_is_its_formula(images, labels, float64):
    model = tiny(SupCon)
    batch = model.make_batch({"image": images[:6], "label": np.array(labels)}, seed=0, step=0)
    z = np.concatenate(model.encode_views(batch["views"], training=True))
    objective = model.objective(batch, training=True)
    np.testing.assert_allclose(objective.loss, by_loops(z, labels, 0.1), rtol=0, atol=1e-10)


def test_without_labels_it_equals_simclr(images, float64):
    supervised = tiny(SupCon, temperature=0.2)
    plain = SimCLR(
        supervised.encoder, views=VIEWS, head=supervised.head, temperature=supervised.temperature
    )
    unlabeled = {"image": images, "label": np.full(len(images), -1)}
    found = []
    for model in (supervised, plain):
        batch = model.make_batch(unlabeled, seed=3, step=1)
        with tf.GradientTape() as tape:
            loss = model.objective(batch, training=True).loss
        found.append([loss, *tape.gradient(loss, [v.value for v in model.trainable_variables])])
    for received, expected in zip(*found, strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-12)


def test_any_shared_number_can_be_the_label(images):
    model = tiny(SupCon, labels="patient")
    patients = tf.data.Dataset.from_tensors({"image": images, "patient": np.arange(32) // 4})
    assert np.isfinite(model.fit(patients, verbose=0).history["loss"]).all()


def test_images_without_labels_are_refused(images):
    with pytest.raises(
        ValueError, match='elements of {"image", "label"}, -1 where an image has none'
    ):
        tiny(SupCon).fit(data.load(images), batch_size=8, verbose=0)
