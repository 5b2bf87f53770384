"""Being told to stop, by SIGTERM or ctrl-C, at a moment when nothing is lost."""

import signal
import threading

PREEMPTED = 75
"""Exit code of a run that SIGTERM has stopped: EX_TEMPFAIL, "try again"."""


class Preempted(SystemExit):
    """SIGTERM was received, and a checkpoint is saved; ends the process with exit code 75."""

    def __init__(self):
        super().__init__(PREEMPTED)


class StopRequest:
    """Notes SIGTERM and SIGINT, in `with`, instead of letting them end the process at once.

    A second ctrl-C does end it. Outside of the main thread, and for a signal that the process
    was started to ignore (as under nohup), nothing is changed.

    Attributes:
        received: the signal that came last, or None.
    """

    def __init__(self):
        self.received = None
        self._previous = {}

    def __enter__(self):
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

    def answer(self):
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
