"""What `import cl_keras` loads, and what is loaded only on first use."""

import gc
import subprocess
import sys
import textwrap

import pytest

import cl_keras
from cl_keras import collector

LATER = """
    import sys
    import cl_keras
    later = {f"cl_keras.{name}" for name in [*cl_keras._LATER, "pretraining", "recipes"]}
    later |= {"numba", "safetensors"}
    assert not later & set(sys.modules), later & set(sys.modules)
    assert cl_keras.zoo is sys.modules["cl_keras.zoo"]
    assert cl_keras.pretrain is sys.modules["cl_keras.pretraining"].pretrain
"""


def test_what_a_training_script_does_not_need_is_imported_when_it_is_first_used():
    subprocess.run([sys.executable, "-c", textwrap.dedent(LATER)], check=True, timeout=120)


def test_importing_leaves_the_garbage_collector_as_it_was():
    script = "import gc; gc.{}(); import cl_keras; assert gc.isenabled() is {}"
    for action, expected in (("enable", True), ("disable", False)):
        command = [sys.executable, "-c", script.format(action, expected)]
        subprocess.run(command, check=True, timeout=120)


def test_the_garbage_collector_is_resumed_after_an_error():
    with pytest.raises(ImportError), collector.paused():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()


def test_all_public_names_are_listed_and_found():
    assert set(cl_keras.__all__) <= set(dir(cl_keras))
    assert all(getattr(cl_keras, name) is not None for name in cl_keras.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'cl_keras' has no attribute 'zooo'"):
        _ = cl_keras.zooo
