import keras
import numpy as np
import pytest

from cl_keras.heads import critics
from cl_keras.heads.critics import CRITICS


@pytest.mark.parametrize("name", CRITICS)
def test_every_pair_is_scored_by_itself(name, random, float64):
    critic = CRITICS[name](3, 5, units=4)
    queries, candidates = random.normal(size=[4, 3]), random.normal(size=[6, 5])
    scores = critic(queries, candidates).numpy()
    assert scores.shape == (4, 6)
    for i, j in np.ndindex(4, 6):
        alone = critic(queries[i : i + 1], candidates[j : j + 1])
        np.testing.assert_allclose(scores[i, j], alone[0, 0], rtol=0, atol=1e-12)


def test_the_concat_critic_is_a_network_on_the_pair_side_by_side(random, float64):
    critic = CRITICS["concat"](3, 5, units=4)
    for variable in critic.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    query, candidate = random.normal(size=[1, 3]), random.normal(size=[1, 5])
    x = np.concatenate([query, candidate], axis=1)
    first = np.concatenate([critic.query_layer.kernel, critic.candidate_layer.kernel])
    x = np.maximum(x @ first + critic.candidate_layer.bias.numpy(), 0)
    x = np.maximum(x @ critic.hidden_layer.kernel.numpy() + critic.hidden_layer.bias.numpy(), 0)
    expected = x @ critic.last_layer.kernel.numpy() + critic.last_layer.bias.numpy()
    np.testing.assert_allclose(critic(query, candidate), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CRITICS)
def test_a_critic_comes_back_from_its_config(name):
    critic = CRITICS[name](3, 5, units=4)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(critic))
    assert again.get_config() == critic.get_config()


def test_the_discriminator_is_the_papers():
    model = critics.prior_discriminator(64)
    assert [layer.units for layer in model.layers[1:]] == [1000, 200, 1]
