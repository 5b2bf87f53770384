import io

import pytest

from cl_keras.pretraining import plan
from cl_keras.pretraining.progress import Progress


@pytest.mark.parametrize(
    "seconds, words",
    [
        (0.2, "1 seconds"),
        (40, "40 seconds"),
        (270, "4.5 minutes"),
        (720, "12 minutes"),
        (12_600, "3.5 hours"),
    ],
)
def test_durations_in_words(seconds, words):
    assert plan.in_words(seconds) == words


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(stream, steps=40, epochs=2, first_batch=0):
    progress = Progress(epochs=epochs, steps_per_epoch=steps, stream=stream)
    for epoch in range(epochs):
        progress.on_epoch_begin(epoch)
        for batch in range(first_batch if epoch == 0 else 0, steps):
            progress.on_train_batch_end(batch, {"loss": 1.25})
        progress.on_epoch_end(epoch, {"loss": 1.25, "knn": 0.5})
    return stream.getvalue()


def test_a_log_has_a_line_for_every_tenth_of_an_epoch_and_no_control_characters():
    written = run(io.StringIO())
    assert not set(written) & {"\r", "\b", "\x1b"}
    lines = written.splitlines()
    # The first step, at the beginning of each epoch, nine tenths, and the end.
    assert len(lines) == 2 * (1 + 9 + 1)
    assert lines[1].startswith("epoch 1/2, step 4/40, loss 1.25")
    assert lines[10] == lines[10].rstrip() and "step 40/40, loss 1.25, knn 0.5" in lines[10]
    assert lines[5].endswith("left") and not lines[-1].endswith("left")


def test_a_terminal_has_one_line_for_an_epoch():
    written = run(Terminal())
    assert written.count("\n") == 2 and "\r" in written


def test_a_resumed_epoch_begins_at_its_position():
    lines = run(io.StringIO(), first_batch=20).splitlines()
    assert lines[0].startswith("epoch 1/2, step 21/40")
