"""What a rank that does not lead keeps: nothing; it only begins where the leading one does."""

from __future__ import annotations

from pipeline.train.checkpoint import Progress
from pipeline.train.keeper import Keeper


class Follower(Keeper):
    """A keeper that writes nothing: the leading rank does."""

    def checkpoint(self, progress: Progress) -> None:
        """Leave it to the leading rank."""

    def epoch(self, progress: Progress, entry: dict[str, float], improved: bool) -> None:
        """Leave it to the leading rank."""

    def alive(self, progress: Progress) -> None:
        """Leave it to the leading rank."""

    def close(self) -> None:
        """Leave it to the leading rank."""

    def _begin_board(self, progress: Progress) -> None:
        """Leave it to the leading rank."""

    def _keep_best(self, progress: Progress) -> None:
        """Leave it to the leading rank."""
