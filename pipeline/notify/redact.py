"""Secrets are taken out of everything that is told, kept or printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

HIDDEN = "[hidden]"
_SHORTEST = 6
_NAMES = r"(?:token|secret|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|credentials?|authorization)"
_SECRET_VARIABLE = re.compile(r"TOKEN|SECRET|PASSW|PASSPHRASE|API_?KEY|ACCESS_?KEY|CREDENTIAL|APPRISE_URL", re.I)
_PATTERNS = (
    # Repetitions are bounded: the log of a job is anything, and a search must not take the square of a line's length.
    # Schemes of HTTP authorization come first: "Authorization: Bearer x" holds the secret in its second word.
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{6,}", re.I), rf"\1 {HIDDEN}"),
    (re.compile(rf"({_NAMES}[\w-]{{0,40}}[\"']?\s{{0,9}}[=:]\s{{0,9}})(?!\[hidden\]|Bearer|Basic)([\"']?)"
                rf"[^\s\"',;&]+", re.I),
     rf"\1\2{HIDDEN}"),
    (re.compile(rf"((?<!\w)--?[\w-]{{0,40}}{_NAMES}\s+)(?!\[hidden\])\S+", re.I), rf"\1{HIDDEN}"),
    (re.compile(r"(\b\w[\w+.-]{0,30}://)[^\s/@]+@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(?:tk_[a-z0-9]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|hf_\w{20,}|AKIA[A-Z0-9]{16})\b"), HIDDEN),
    (re.compile(r"\bglpat-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|\bsk-[\w-]{20,}"), HIDDEN),
    (re.compile(r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"), HIDDEN),
    # The key of the Climate Data Store.
    (re.compile(r"(\bkey[\"']?\s*[=:]\s*[\"']?)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I), rf"\1{HIDDEN}"),
)  # fmt: skip


class Redactor:
    """Replaces known secrets, and what looks like one, by ``[hidden]``."""

    def __init__(self, secrets: Iterable[str], environment: Mapping[str, str]) -> None:
        """Know ``secrets`` and the values of all variables of the environment that are named like one."""
        named = (value for name, value in environment.items() if _SECRET_VARIABLE.search(name))
        values = {part for value in (*secrets, *named) for part in (value, *value.split()) if len(part) >= _SHORTEST}
        # Longest first: a secret may contain another.
        self._known = sorted(values, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for secret in self._known:
            text = text.replace(secret, HIDDEN)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text
