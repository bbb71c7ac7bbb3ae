"""Requests to stop that come at a known moment."""

from pipeline.core.interrupt import Interrupt


class StopAt(Interrupt):
    """Asks for a stop at the n-th look."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def requested(self) -> bool:
        self._looks -= 1
        if self._looks == 0:
            self.reason = "SIGTERM"
        return super().requested()
