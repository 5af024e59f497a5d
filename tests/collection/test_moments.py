from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inbedder_retrieval.collection.moments import moments_within, read_date

UTC = timezone.utc
EAST = timezone(timedelta(hours=2))
DAY = date(2026, 1, 31)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
AFTER_NOON = datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
BEGINS, ENDS = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"gte": DAY}, {"gte": BEGINS}),
        ({"gt": DAY}, {"gte": ENDS}),
        ({"lt": DAY}, {"lt": BEGINS}),
        ({"lte": DAY}, {"lt": ENDS}),
        ({"gte": DAY, "lte": DAY}, {"gte": BEGINS, "lt": ENDS}),
        ({"gte": NOON}, {"gte": NOON}),
        ({"gt": NOON}, {"gte": AFTER_NOON}),
        ({"lt": NOON}, {"lt": NOON}),
        ({"lte": NOON}, {"lt": AFTER_NOON}),
        ({"lt": datetime(2026, 1, 31, 12)}, {"lt": NOON}),
        ({"lt": datetime(2026, 1, 31, 14, tzinfo=EAST)}, {"lt": NOON}),
        ({"gt": DAY, "gte": NOON}, {"gte": ENDS}),
        ({"lt": NOON, "lte": DAY}, {"lt": NOON}),
        ({"lte": date.max}, {"lte": datetime.max.replace(tzinfo=UTC)}),
        ({"gt": datetime.max}, {"gt": datetime.max.replace(tzinfo=UTC)}),
        ({"gte": date.min}, {"gte": datetime.min.replace(tzinfo=UTC)}),
    ],
)
def test_bounds_become_moments_from_one_on_and_before_another(
    bounds: dict[str, date], expected: dict[str, datetime]
) -> None:
    assert dict(moments_within(bounds, "the filter")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", DAY),
        ("2026-01-31T12:00", NOON),
        ("2026-01-31 12:00:00", NOON),
        ("2026-01-31T12:00:00.000001Z", AFTER_NOON),
        ("2026-01-31T14:00:00+02:00", NOON),
        ("9999-12-31", date.max),
        ("20260131", None),
        ("2026-W05-6", None),
        ("2026-01", None),
        ("2026-02-30", None),
        ("2026-01-31T", None),
        ("2026-01-31T25:00", None),
        ("0001-01-01T00:00+05:00", None),
        ("soon", None),
        ("\u0662026-01-31", None),
        ("", None),
    ],
)
def test_a_date_is_read_as_it_is_written(text: str, expected: date | None) -> None:
    assert read_date(text) == expected
    assert type(read_date(text)) is type(expected)


@given(moment=st.datetimes())
def test_every_moment_is_read_back(moment: datetime) -> None:
    assert read_date(moment.isoformat()) == moment.replace(tzinfo=UTC)
    assert read_date(moment.date().isoformat()) == moment.date()
