"""The health check names planted faults within 200 steps, and finds none in healthy runs."""

import json

import keras
import numpy as np
import pytest

from cl_keras import methods, views
from cl_keras.callbacks import Health, health
from cl_keras.callbacks.diagnosis import of_vitals
from cl_keras.callbacks.vitals import Vitals, Weights, loss_range
from tests.tiny import IMAGE_SIZE, VIEWS, tiny_encoder, tiny_simclr

IMAGES = np.random.default_rng(0).integers(0, 256, (160, 12, 12, 1), np.uint8)
STEPS = 10  # an epoch, of 16 images each


def _fit(model, epochs=11, **options):
    doctor = Health(IMAGES, say=lambda sentence: None, **options)
    model.fit(IMAGES, batch_size=16, epochs=epochs, callbacks=[doctor], verbose=0)
    return doctor


def _names(doctor):
    return [finding.name for finding in doctor.findings]


def test_a_healthy_run_has_no_finding_and_all_vitals():
    doctor = _fit(tiny_simclr())
    assert _names(doctor) == []
    assert [vital.step for vital in doctor.history] == [20, 100]
    last = doctor.history[-1]
    assert last.positive_cosine > last.negative_cosine
    assert 1 < last.effective_rank <= 16 and last.uniformity < 0
    assert last.gradient_norm > 0
    assert last.floor < last.ceiling == pytest.approx(np.log(31))


def test_training_is_the_same_with_and_without_it():
    watched, plain = tiny_simclr(), tiny_simclr()
    _fit(watched, epochs=3)
    plain.fit(IMAGES, batch_size=16, epochs=3, verbose=0)
    state = [*watched.variables, *watched.optimizer.variables]
    for a, b in zip(state, [*plain.variables, *plain.optimizer.variables], strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("temperature", [50.0, 1e-4])
def test_an_absurd_temperature_is_named_before_training(temperature):
    doctor = Health(say=lambda sentence: None)
    doctor.set_model(tiny_simclr(temperature=temperature))
    doctor.on_train_begin()
    assert _names(doctor) == ["temperature"]


@pytest.mark.parametrize(("rate", "words"), [(3000.0, "far too high"), (1e-9, "far too low")])
def test_an_absurd_learning_rate_is_named(rate, words):
    doctor = _fit(tiny_simclr(keras.optimizers.SGD(rate)), epochs=11)
    assert "learning rate" in _names(doctor)
    assert words in doctor.findings[_names(doctor).index("learning rate")].sentence


def test_views_without_randomness_are_named():
    plain = {"crop_area": (1.0, 1.0), "crop_ratio": (1.0, 1.0), "flip": 0.0}
    still = views.simclr(IMAGE_SIZE, 1, **plain, color_probability=0.0, blur_probability=0.0)
    doctor = _fit(tiny_simclr(views=still), epochs=3)
    assert "views" in _names(doctor)


@pytest.mark.parametrize(("groups", "found"), [(1, ["batch normalization"]), (4, [])])
def test_leaking_batch_normalization_is_named(groups, found):
    model = _moco(queue_size=32, shuffle_bn_groups=groups)
    assert _names(_fit(model, epochs=3)) == found


def test_a_queue_longer_than_the_data_is_named():
    doctor = Health(IMAGES, say=lambda sentence: None)
    doctor.set_model(_moco(queue_size=161))
    doctor.on_train_begin()
    assert _names(doctor) == ["queue"]


def _moco(**options):
    keras.utils.set_random_seed(0)
    model = methods.MoCo(tiny_encoder(), views=VIEWS, **options)
    model.compile(keras.optimizers.SGD(0.05))
    return model


@pytest.mark.parametrize("normalized", [True, False])
def test_prototypes_that_are_not_normalized_are_named(normalized, monkeypatch):
    keras.utils.set_random_seed(0)
    model = methods.SwAV(tiny_encoder(), views=VIEWS, num_prototypes=8, frozen_steps=0)
    model.compile(keras.optimizers.SGD(0.5))
    if not normalized:
        monkeypatch.setattr(model, "before_step", lambda: None)
    found = _names(_fit(model, epochs=3))
    assert found == ([] if normalized else ["prototype normalization"])


def test_similar_images_in_two_measurements_are_a_collapse():
    alike = [Vitals(step, negative_cosine=0.9995) for step in (100, 160)]
    assert [one.name for one in of_vitals(alike, 0)] == ["collapse"]
    assert of_vitals(alike[:1], 0) == []  # one measurement may be chance
    assert of_vitals([Vitals(20, negative_cosine=0.9999)], 0) == []  # so is every new network


def test_one_prototype_for_all_is_a_collapse_only_if_the_loss_falls():
    vitals = {"top_prototype": 1.0, "ceiling": 2.0}
    assert [f.name for f in of_vitals([Vitals(100, loss=0.5, **vitals)], 0)] == [
        "prototype collapse"
    ]
    assert of_vitals([Vitals(100, loss=1.9, **vitals)], 0) == []


def test_a_finding_is_said_once_and_written_with_the_history(tmp_path):
    said = []
    doctor = Health(IMAGES, folder=tmp_path, say=said.append)
    model = tiny_simclr(temperature=50.0)
    model.fit(IMAGES, batch_size=16, epochs=11, callbacks=[doctor], verbose=0)
    assert len(said) == 1 and "temperature 50 is so high" in said[0] and "Use 0.05" in said[0]
    found = health.read(tmp_path / "health.json")
    assert [one["name"] for one in found["findings"]] == ["temperature"]
    assert [one["step"] for one in found["history"]] == [20, 100]
    assert json.loads((tmp_path / "health.json").read_text()) == found
    assert list((tmp_path / "tensorboard" / "health").iterdir())


def test_a_resumed_run_keeps_what_was_measured_before(tmp_path):
    model = tiny_simclr()
    _fit(model, epochs=3, folder=tmp_path)
    doctor = Health(IMAGES, folder=tmp_path, say=lambda sentence: None)
    model.fit(IMAGES, batch_size=16, initial_epoch=3, epochs=6, callbacks=[doctor], verbose=0)
    steps = [one["step"] for one in health.read(tmp_path / "health.json")["history"]]
    assert steps == [20, 50]


def test_the_loss_has_the_closed_forms_for_its_range():
    found = loss_range(tiny_simclr(temperature=0.5), batch_size=4)
    assert found["ceiling"] == pytest.approx(np.log(7))
    logits = np.array([1, 0, 0, 0, 0, 0, 0]) / 0.5
    assert found["floor"] == pytest.approx(-logits[0] + np.log(np.exp(logits).sum()))


def test_weights_measure_how_far_they_moved():
    model = tiny_simclr()
    weights = Weights(model)
    for variable in model.encoder.trainable_variables:
        if len(variable.shape) > 1:
            variable.assign(2 * variable)
    assert weights.measure() == pytest.approx({"movement": 1, "growth": 2})
    weights.remember()
    assert weights.measure()["update"] == 0
