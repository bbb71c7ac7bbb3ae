"""The command line's first word: ``show``, ``list`` and ``watch`` are the options of these names."""

from __future__ import annotations

from collections.abc import Sequence

FLAGS = {
    "--workers": "workers",
    "--worker": "worker",
    "--confirm": "confirm.best",
    "--seeds": "confirm.seeds",
    "--show": "show",
    "--list": "list_studies",
    "--watch": "watch",
}
_LOOKS = ("show", "list", "watch")


def options(arguments: Sequence[str]) -> list[str]:
    """Return a command line with its first word, where that asks for a look, as an option."""
    if arguments and arguments[0] in _LOOKS:
        return [f"--{arguments[0]}", *arguments[1:]]
    return list(arguments)


def asks_for_all(arguments: Sequence[str]) -> bool:
    """Tell whether the studies of all experiments are to be listed."""
    return list(arguments) == ["--list"]
