import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import optimizers


class Recorded(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that changes at every step: 0.5, 0.25, 0.1667, …"""

    def __call__(self, step):
        return 0.5 / (tf.cast(step, "float32") + 1.0)


def lars_by_hand(weights, gradients, convention, nesterov, eta=1e-2, decay=0.1, mu=0.9):
    weights = [w.astype(np.float64) for w in weights]
    buffers = [np.zeros_like(w) for w in weights]
    for t, step in enumerate(gradients):
        rate = 0.5 / (t + 1.0)
        for i, g in enumerate(step):
            w = weights[i]
            if w.ndim > 1:
                size, slope = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
                trust = eta * size / (slope + decay * size) if size > 0 and slope > 0 else 1.0
                g = trust * (g + decay * w)
            if convention == "inside":
                g = rate * g
            buffers[i] = mu * buffers[i] + g
            move = mu * buffers[i] + g if nesterov else buffers[i]
            weights[i] = w - (move if convention == "inside" else rate * move)
    return weights


@pytest.mark.parametrize("convention", ["inside", "outside"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_ten_steps_under_a_changing_learning_rate(random, float64, convention, nesterov):
    start = [random.normal(size=s) for s in ([3, 4], [4], [2, 2, 1, 3], [])] + [np.zeros([2, 2])]
    gradients = [[random.normal(size=w.shape) for w in start] for _ in range(10)]
    gradients[3][0][:] = 0.0
    variables = [keras.Variable(w) for w in start]
    lars = optimizers.LARS(
        Recorded(),
        trust_coefficient=1e-2,
        weight_decay=0.1,
        momentum_convention=convention,
        nesterov=nesterov,
    )
    for step in gradients:
        lars.apply([tf.constant(g) for g in step], variables)
    expected = lars_by_hand(start, gradients, convention, nesterov)
    for received, wanted in zip(variables, expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=0, atol=1e-6)


def larc_by_hand(weights, gradients, eta=1e-2, decay=0.1, mu=0.9):
    """NVIDIA Apex's LARC around PyTorch's SGD: the decay is 0 if a norm is."""
    weights = [w.astype(np.float64) for w in weights]
    buffers = [np.zeros_like(w) for w in weights]
    for t, step in enumerate(gradients):
        for i, g in enumerate(step):
            size, slope = np.linalg.norm(weights[i].ravel()), np.linalg.norm(g.ravel())
            if size > 0 and slope > 0:
                g = eta * size / (slope + decay * size) * (g + decay * weights[i])
            buffers[i] = mu * buffers[i] + g
            weights[i] = weights[i] - 0.5 / (t + 1.0) * buffers[i]
    return weights


def sgd_by_hand(weights, gradients, vectors, convention, decay=0.1, mu=0.9):
    weights = [w.astype(np.float64) for w in weights]
    buffers = [np.zeros_like(w) for w in weights]
    for t, step in enumerate(gradients):
        rate = 0.5 / (t + 1.0)
        for i, g in enumerate(step):
            if vectors or weights[i].ndim > 1:
                g = g + decay * weights[i]
            if convention == "inside":
                buffers[i] = mu * buffers[i] + rate * g
                weights[i] = weights[i] - buffers[i]
            else:
                buffers[i] = mu * buffers[i] + g
                weights[i] = weights[i] - rate * buffers[i]
    return weights


def after_ten_steps(optimizer, random):
    """Start, gradients and the variables afterwards."""
    start = [random.normal(size=s) for s in ([3, 4], [4], [2, 2, 1, 3], [])] + [np.zeros([2, 2])]
    gradients = [[random.normal(size=w.shape) for w in start] for _ in range(10)]
    gradients[3][0][:] = 0.0
    variables = [keras.Variable(w) for w in start]
    for step in gradients:
        optimizer.apply([tf.constant(g) for g in step], variables)
    return start, gradients, variables


def assert_close(received, expected):
    for a, b in zip(received, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def test_larc_adapts_every_tensor(random, float64):
    larc = optimizers.LARC(Recorded(), trust_coefficient=1e-2, weight_decay=0.1)
    start, gradients, received = after_ten_steps(larc, random)
    assert_close(received, larc_by_hand(start, gradients))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizers.LARC(0.2)))
    assert (
        type(again) is optimizers.LARC and again.get_config() == optimizers.LARC(0.2).get_config()
    )


@pytest.mark.parametrize("convention", ["inside", "outside"])
@pytest.mark.parametrize("vectors", [True, False])
def test_the_decay_of_sgd_goes_through_the_momentum(random, float64, vectors, convention):
    options = {"decays_vectors": vectors, "momentum_convention": convention}
    sgd = optimizers.SGD(Recorded(), weight_decay=0.1, **options)
    start, gradients, received = after_ten_steps(sgd, random)
    assert_close(received, sgd_by_hand(start, gradients, vectors, convention))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizers.SGD(0.2, **options)))
    assert again.get_config() == optimizers.SGD(0.2, **options).get_config()


def test_the_decay_of_sgd_is_ten_times_that_of_keras(random):
    """In the long run, at momentum 0.9 and without a gradient: (1 - 10·γλ) per step."""
    received = [keras.Variable(np.ones([2, 2], "float32")) for _ in range(2)]
    ours = optimizers.SGD(1e-2, momentum=0.9, weight_decay=1e-2)
    keras_own = keras.optimizers.SGD(1e-2, momentum=0.9, weight_decay=1e-2)
    for _ in range(300):
        for optimizer, variable in zip((ours, keras_own), received, strict=True):
            optimizer.apply([tf.zeros([2, 2])], [variable])
    rates = [np.log(float(v[0, 0])) for v in received]
    assert 9.5 < rates[0] / rates[1] < 10.5


def test_the_conventions_differ_when_the_rate_changes(random):
    start = [random.normal(size=[3, 4])]
    gradients = [[random.normal(size=[3, 4])] for _ in range(3)]
    inside, outside = (
        lars_by_hand(start, gradients, convention, False)[0] for convention in ("inside", "outside")
    )
    assert np.abs(inside - outside).max() > 1e-4


def test_it_survives_its_config_and_loss_scaling(random):
    lars = optimizers.LARS(
        optimizers.warmup_cosine(0.4, warmup_steps=3, steps=9),
        momentum=0.8,
        weight_decay=1e-4,
        trust_coefficient=2e-3,
        momentum_convention="outside",
        nesterov=True,
    )
    again = keras.optimizers.deserialize(keras.optimizers.serialize(lars))
    assert again.get_config() == lars.get_config()

    start, gradient = random.normal(size=[2, 3, 3]).astype("float32")
    plain, scaled = keras.Variable(start), keras.Variable(start)
    wrapped = keras.optimizers.LossScaleOptimizer(optimizers.LARS(0.1), initial_scale=1024.0)
    optimizers.LARS(0.1).apply([tf.constant(gradient)], [plain])
    wrapped.apply([tf.constant(gradient * 1024.0)], [scaled])
    np.testing.assert_allclose(plain, scaled, atol=1e-7)
    assert np.abs(plain - start).max() > 0


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"momentum_convention": "beside"}, "must be one of .* received 'beside'"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\); received 1.0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0; received -1.0"),
        ({"trust_coefficient": 0.0}, "trust_coefficient must be above 0; received 0.0"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        optimizers.LARS(0.1, **wrong)


def test_warmup_rises_and_the_cosine_falls():
    schedule = optimizers.warmup_cosine(0.4, warmup_steps=10, steps=110, final=0.1)
    expected = [0.04 * t for t in range(10)]
    expected += [0.1 + 0.3 * (1 + np.cos(np.pi * t / 100)) / 2 for t in range(101)] + [0.1]
    received = [float(schedule(t)) for t in range(112)]
    np.testing.assert_allclose(received, expected, atol=1e-6)
    assert float(optimizers.warmup_cosine(0.4, warmup_steps=0, steps=10)(0)) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="received warmup_steps=10, steps=10"):
        optimizers.warmup_cosine(0.4, warmup_steps=10, steps=10)


def test_the_warm_up_may_begin_above_zero():
    """SwAV: from 0.3 to 0.6, then to 0.0006."""
    schedule = optimizers.warmup_cosine(0.6, warmup_steps=4, steps=14, start=0.3, final=0.0006)
    expected = [0.3 + 0.3 * t / 4 for t in range(4)]
    expected += [0.0006 + 0.5994 * (1 + np.cos(np.pi * t / 10)) / 2 for t in range(11)]
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    for each in (schedule, again):
        np.testing.assert_allclose([float(each(t)) for t in range(15)], expected, atol=1e-6)


@pytest.mark.parametrize("warmup", [0, 3])
def test_the_rate_falls_by_steps(warmup):
    """MoCo v1: a tenth at 120 and at 160 of 200."""
    schedule = optimizers.warmup_step_decay(0.03, warmup_steps=warmup, steps=200)
    expected = [0.03 * t / warmup if t < warmup else 0.03 for t in range(120)]
    expected += [0.003] * 40 + [0.0003] * 41
    received = [float(schedule(t)) for t in range(201)]
    np.testing.assert_allclose(received, expected, rtol=1e-5)


def test_batch_size_rules():
    assert optimizers.linear_scaling(4096) == pytest.approx(4.8)
    assert optimizers.square_root_scaling(4096) == pytest.approx(4.8)
    assert optimizers.linear_scaling(128, base=0.06) == pytest.approx(0.03)
