import keras
import numpy as np
import pytest

from cl_keras.heads.patches import patch_head


def test_it_projects_each_patch_and_then_all(random, float64):
    head = patch_head(5, num_patches=4, patch_dim=3, output_dim=2)
    patches = random.normal(size=[6, 4, 5])
    first, bias, second, offset = (random.normal(size=v.shape) for v in head.trainable_variables)
    head.set_weights([first, bias, second, offset])
    for received, image in zip(head(patches).numpy(), patches, strict=True):
        side_by_side = np.concatenate([patch @ first + bias for patch in image])
        np.testing.assert_allclose(received, side_by_side @ second + offset, rtol=0, atol=1e-12)


def test_the_default_is_the_papers():
    shapes = [tuple(v.shape) for v in patch_head(2048).variables]
    assert shapes == [(2048, 128), (128,), (1152, 128), (128,)]


def test_it_needs_a_patch():
    with pytest.raises(ValueError, match="num_patches must be at least 1; received 0"):
        patch_head(5, num_patches=0)


def test_it_survives_its_config():
    head = patch_head(5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert again.get_config() == head.get_config()


def test_a_hidden_layer_sees_each_patch(random, float64):
    head = patch_head(5, num_patches=4, hidden_dim=6, patch_dim=3, output_dim=2)
    weights = [random.normal(size=v.shape) for v in head.trainable_variables]
    head.set_weights(weights)
    hidden, hidden_bias, first, bias, second, offset = weights
    patches = random.normal(size=[6, 4, 5])
    each = np.maximum(patches @ hidden + hidden_bias, 0) @ first + bias
    expected = each.reshape(6, -1) @ second + offset
    np.testing.assert_allclose(head(patches), expected, rtol=0, atol=1e-12)
