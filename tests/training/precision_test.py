import pytest
import tensorflow as tf

from cl_keras import bounds
from cl_keras.training import precision


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with GPUs of some compute capabilities, and a CPU with some flags."""

    def make(capabilities=(), flags=""):
        cpu = tmp_path / "cpuinfo"
        cpu.write_text(f"processor\t: 0\nflags\t\t: fpu sse {flags}\nbugs\t\t: none\n")
        monkeypatch.setattr(bounds, "CPU_INFO", cpu)
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
        gpus = list(range(len(capabilities)))
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
        monkeypatch.setattr(
            tf.config.experimental,
            "get_device_details",
            lambda gpu: {"compute_capability": capabilities[gpu]} if capabilities[gpu] else {},
        )

    return make


@pytest.mark.parametrize(
    "capabilities, flags, expected",
    [
        ([], "avx512f", "float32"),
        ([], "avx512f avx512_bf16", "mixed_bfloat16"),
        ([], "amx_bf16", "mixed_bfloat16"),
        ([(9, 0)], "", "mixed_bfloat16"),
        ([(8, 0), (7, 5)], "", "mixed_float16"),
        ([(7, 0)], "amx_bf16", "mixed_float16"),
        ([(6, 1)], "amx_bf16", "float32"),
        ([None], "", "float32"),
    ],
)
def test_auto_is_the_precision_of_the_slowest_device(machine, capabilities, flags, expected):
    machine(capabilities, flags)
    assert precision.resolve("auto") == expected
    assert precision.resolve("mixed_float16") == "mixed_float16"


def test_bfloat16_on_a_cpu_needs_onednn(machine, monkeypatch):
    machine([], "amx_bf16")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert precision.resolve("auto") == "float32"


def test_the_cpu_is_unknown_without_linux(machine, monkeypatch, tmp_path):
    machine()
    monkeypatch.setattr(bounds, "CPU_INFO", tmp_path / "none")
    assert precision.resolve("auto") == "float32"
