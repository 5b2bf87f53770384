"""Sizes too large for any machine are refused before anything is allocated."""

import pytest
import tensorflow as tf

import cl_keras as cl
from cl_keras import bounds
from cl_keras.bounds import check_memory
from cl_keras.cli import main
from cl_keras.clustering import ClusterMemory
from cl_keras.heads import Prototypes
from cl_keras.negatives import KeyQueue
from cl_keras.negatives.memory_bank import MemoryBank
from tests import tiny

HUGE = 10**12

MAKERS = {
    "queue_size": lambda: KeyQueue(HUGE, 8),
    "num_images": lambda: MemoryBank(HUGE, 8),
    "prototypes": lambda: Prototypes(8, HUGE),
    "num_images of clusters": lambda: ClusterMemory(HUGE, 8, 4),
    "negatives": lambda: cl.InstDisc(
        tiny.tiny_encoder(), views=cl.views.simclr(8, 1), num_images=8, num_negatives=HUGE
    ),
}


@pytest.mark.parametrize("name", MAKERS)
def test_what_cannot_fit_is_refused_by_name(name):
    with pytest.raises(
        ValueError, match=r"1,000,000,000,000.*this machine has .* GiB of memory\. "
    ):
        MAKERS[name]()


def test_what_just_fits_is_accepted(monkeypatch):
    monkeypatch.setattr(bounds, "memory_of_machine", lambda: 4 * 6 * 7)
    check_memory([6, 7], "It", "")
    with pytest.raises(ValueError, match="It of 6 × 8 numbers"):
        check_memory([6, 8], "It", "")
    monkeypatch.setattr(bounds, "memory_of_machine", lambda: None)
    check_memory([HUGE], "It", "")


@pytest.mark.parametrize(
    "error",
    [
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating shape[9,8] and type"),
        MemoryError("Unable to allocate 5 TiB for an array with shape (9, 8)"),
        MemoryError(),
    ],
)
def test_a_command_that_runs_out_of_memory_says_what_to_change(error, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr("cl_keras.cli.zoo.main", fail)
    assert main.main(["zoo", "list"]) == main.FAILURE
    printed = capsys.readouterr().err
    assert printed.startswith("cl-keras zoo: out of memory") and "--batch_size" in printed
    assert not str(error) or "9" in printed
    assert printed.count("\n") == 1
