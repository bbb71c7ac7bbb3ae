"""What a data centre can answer other than "here it is", as few kinds as there are ways to go on."""

from __future__ import annotations


class Trouble(Exception):
    """The data centre did not deliver; the text says why in one line, in its own words where it gave any."""

    def __init__(self, why: str) -> None:
        """Keep ``why`` on one line of readable length."""
        super().__init__(_one_line(why))


class Denied(Trouble):
    """The key or a licence: nothing can be fetched until the user has done something."""


class Invalid(Trouble):
    """This request can never be answered: a name, a day or a level does not exist there."""


class Refused(Trouble):
    """The request is larger than the data centre allows (its cost); smaller ones may pass."""


class Busy(Trouble):
    """Too many requests for now; ask again after ``seconds`` (0: not said)."""

    def __init__(self, why: str, seconds: float = 0.0, crowded: bool = False) -> None:
        """``crowded``: the limit is on requests that wait, so that fewer at a time would pass."""
        super().__init__(why)
        self.seconds, self.crowded = seconds, crowded
        self.lost = False
        """Whether the request has been thrown out and must be sent again."""


class Hiccup(Trouble):
    """The network or the server stumbled; the same again may pass."""

    def __init__(self, why: str, outage: bool = False, seconds: float = 0.0) -> None:
        """``outage``: the service as a whole does not answer, which is no fault of this request."""
        super().__init__(why)
        self.outage, self.seconds = outage, seconds


class Failed(Trouble):
    """The data centre took the request and could not answer it; asking anew may pass."""

    def __init__(self, why: str, doubtful: bool = False) -> None:
        """``doubtful``: more likely than not it will never pass."""
        super().__init__(why)
        self.doubtful = doubtful


class Forgotten(Trouble):
    """The data centre knows the request, or keeps its result, no more."""


class Stopped(Exception):
    """The job is to end now; everything is on disk or on the server."""


def _one_line(text: str, most: int = 300) -> str:
    words = " ".join(text.split()).rstrip(".")
    return words if len(words) <= most else words[: most - 1] + "…"
