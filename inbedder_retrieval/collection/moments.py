"""Dates as moments: from where one begins to where the next one does, in UTC.

A `date` is the whole day. A `datetime` is one microsecond; without a zone it is UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone

from inbedder_retrieval.errors import DocumentError

__all__ = ["moments_within", "read_date"]

LAST = datetime.max.replace(tzinfo=timezone.utc)
NEXT = {"gt": "gte", "lte": "lt"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?", re.ASCII)


def moments_within(bounds: Mapping[str, date], name: str) -> tuple[tuple[str, datetime], ...]:
    """Return what is within `gt`, `gte`, `lt` and `lte` as moments from `gte` on, before `lt`.

    Asked in this form, it does not matter which finer digits of a stored moment an engine keeps.
    Where the calendar ends, the other two bounds stay.

    Args:
        name: what has these bounds, for the error.

    Raises:
        DocumentError: a bound is no moment of the calendar in UTC.
    """
    found: dict[str, datetime] = {}
    for bound, value in bounds.items():
        start, after = _span(value, name)
        side, moment = bound, start
        if bound in ("gt", "lte"):
            side, moment = (bound, LAST) if after is None else (NEXT[bound], after)
        nearer = max if side.startswith("g") else min
        found[side] = nearer(found.get(side, moment), moment)
    return tuple(sorted(found.items()))


def read_date(text: str) -> date | None:
    """Read `2026-01-31`, or `2026-01-31T10:00` with seconds and a zone or without; else None."""
    if not _DATE.fullmatch(text):
        return None
    try:
        # Python 3.10 does not know the Z.
        given = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
        return _in_utc(given) if len(text) > len("2026-01-31") else given.date()
    except (ValueError, OverflowError):
        return None


def _span(value: date, name: str) -> tuple[datetime, datetime | None]:
    """Return where a day or a microsecond begins and where the next one does, if there is one."""
    try:
        start = _in_utc(value)
    except (ValueError, OverflowError) as error:
        raise DocumentError(
            f"{name} compares with {value}, which is no moment of the calendar in UTC; "
            "give another date"
        ) from error
    step = timedelta(microseconds=1) if isinstance(value, datetime) else timedelta(days=1)
    return start, start + step if start <= LAST - step else None


def _in_utc(value: date) -> datetime:
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    known = value.replace(tzinfo=timezone.utc) if value.utcoffset() is None else value
    return known.astimezone(timezone.utc)
