import json
import sys
import types

import pytest

from cl_keras import keras_settings


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Writes keras.json, sets KERAS_BACKEND, and pretends that `keras` is not imported."""

    def make(file=None, variable=None, imported=None):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.delenv("KERAS_BACKEND", raising=False)
        monkeypatch.delitem(sys.modules, "keras", raising=False)
        if file is not None:
            (tmp_path / "keras.json").write_text(
                file if isinstance(file, str) else json.dumps(file)
            )
        if variable:
            monkeypatch.setenv("KERAS_BACKEND", variable)
        if imported:
            config = types.SimpleNamespace(backend=lambda: imported)
            monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(config=config))

    return make


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"file": {"backend": "tensorflow", "image_data_format": "channels_last"}},
        {"file": {"backend": "jax"}, "variable": "tensorflow"},
        {"file": {"backend": "jax"}, "imported": "tensorflow"},
        {"file": "no json"},
        {"file": "[1]"},
    ],
)
def test_settings_that_work_pass(settings, given):
    settings(**given)
    keras_settings.check()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"variable": "jax"}, "the variable KERAS_BACKEND says 'jax'"),
        ({"file": {"backend": "torch"}}, r'"backend" in .*keras.json says \'torch\''),
        ({"variable": "tensorflow", "imported": "jax"}, "the imported keras says 'jax'"),
        ({"file": {"image_data_format": "channels_first"}}, "says 'channels_first'"),
    ],
)
def test_settings_for_other_work_are_named(settings, given, message):
    settings(**given)
    with pytest.raises(ImportError, match=message) as error:
        keras_settings.check()
    assert "\n" not in str(error.value)
