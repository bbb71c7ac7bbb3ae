"""Times as people write them: time zones by name, and moments in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pipeline.core.errors import InputError


def zone(name: str, setting: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        InputError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InputError(f"{setting}: no time zone {name!r}; use an IANA name such as UTC or Asia/Tokyo") from None


def to_utc(time: datetime, place: ZoneInfo) -> datetime:
    """Return the moment in UTC, without a zone; a time that carries none is one of ``place``."""
    if time.tzinfo is None:
        if place.key == "UTC":
            return time
        time = time.replace(tzinfo=place)
    return time.astimezone(UTC).replace(tzinfo=None)


def read_time(text: str) -> datetime | None:
    """Read a time as ISO 8601 or with dots or slashes in the date; ``None`` if it is none."""
    plain = text.strip()
    if re.match(r"\d{4}[./]\d{1,2}[./]\d{1,2}", plain):
        day, *rest = re.split(r"[ T]", plain, maxsplit=1)
        plain = " ".join(["-".join(part.zfill(2) for part in re.split(r"[./]", day)), *rest])
    try:
        return datetime.fromisoformat(plain)
    except ValueError:
        return None
