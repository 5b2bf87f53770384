"""Being told to stop, by SIGTERM or ctrl-C, at a moment when nothing is lost.

Nothing here needs TensorFlow, so that a command can answer while it is still being imported.
"""

from __future__ import annotations

import signal
import threading

PREEMPTED = 75
"""Exit code of a run that SIGTERM has stopped: EX_TEMPFAIL, "try again"."""


class Preempted(SystemExit):
    """SIGTERM was received, and what there is to save is saved; exit code 75."""

    def __init__(self):
        super().__init__(PREEMPTED)


class StopRequest:
    """Answers SIGTERM and SIGINT, within `with`, in place of ending the process at once.

    Outside of the main thread, and for a signal that the process was started to ignore (as under
    nohup), nothing is changed.

    Args:
        at_once: raise what `answer` raises as soon as the signal comes, where there is nothing to
            save; default: False, it is noted until `answer` is called, and only a second ctrl-C
            does not wait.

    Attributes:
        received: the signal that came last, or None.
    """

    def __init__(self, *, at_once: bool = False):
        self.received: int | None = None
        self._at_once = at_once
        self._previous: dict = {}

    def __enter__(self) -> StopRequest:
        self.received = None
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error):
        for number, handler in self._previous.items():
            # None: a handler that was not made in Python, which cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}

    def answer(self) -> None:
        """Ends the training as the signal asks.

        Raises:
            Preempted: after SIGTERM.
            KeyboardInterrupt: after SIGINT.
        """
        if self.received == signal.SIGTERM:
            raise Preempted
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt

    def _note(self, number, frame):
        if number == self.received == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        if self._at_once:
            self.answer()
