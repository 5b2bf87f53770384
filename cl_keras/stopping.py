"""Handles SIGTERM and ctrl-C when nothing will be lost.

This does not need TensorFlow, so commands can respond while it is being imported.
"""

from __future__ import annotations

import signal
import threading

PREEMPTED = 75
"""Exit code of a run stopped by SIGTERM: EX_TEMPFAIL, "try again"."""


class Preempted(SystemExit):
    """SIGTERM was received and everything is saved; exit code 75."""

    def __init__(self):
        super().__init__(PREEMPTED)


class StopRequest:
    """A context in which SIGTERM and SIGINT do not end the process immediately.

    It has no effect outside of the main thread, and on signals that the process was started to
    ignore (e.g. by nohup).

    Args:
        at_once: raise immediately when the signal arrives, if there is nothing to save; default:
            False, only record the signal until `answer` is called; a second ctrl-C always raises
            immediately.

    Attributes:
        received: the last signal, or None.
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
            # None is a handler that was not set in Python, which cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous = {}

    def answer(self) -> None:
        """Raises according to the signal, if any.

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
