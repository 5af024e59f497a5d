from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest
from inbedder_retrieval import DocumentError, Where
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
)

from langchain_inbedder import InBedderTranslator, InBedderVectorStore

YEAR = Where.field("year")


def compared(comparator: Comparator, value: Any) -> Comparison:
    return Comparison(comparator=comparator, attribute="year", value=value)


@pytest.mark.parametrize(
    ("comparator", "value", "expected"),
    [
        (Comparator.EQ, 1994, YEAR == 1994),
        (Comparator.NE, 1994, YEAR != 1994),
        (Comparator.GT, 1994, YEAR > 1994),
        (Comparator.GTE, 1994, YEAR >= 1994),
        (Comparator.LT, 1994, YEAR < 1994),
        (Comparator.LTE, 1994, YEAR <= 1994),
        (Comparator.IN, [1, 2], YEAR.is_in([1, 2])),
        (Comparator.NIN, [1, 2], ~YEAR.is_in([1, 2])),
        (Comparator.CONTAIN, "gift", YEAR.contains("gift")),
        (Comparator.LIKE, "gif", YEAR.matches("gif")),
        (Comparator.GT, {"type": "date", "date": "2026-01-31"}, date(2026, 1, 31) < YEAR),
        (
            Comparator.LT,
            {"type": "datetime", "datetime": "2026-01-31T10:00:00+00:00"},
            datetime.fromisoformat("2026-01-31T10:00:00+00:00") > YEAR,
        ),
    ],
)
def test_every_comparison_is_a_condition(
    comparator: Comparator, value: Any, expected: Where
) -> None:
    assert compared(comparator, value).accept(InBedderTranslator()) == expected


def test_conditions_are_joined() -> None:
    parts = [compared(Comparator.EQ, 1), compared(Comparator.EQ, 2)]
    made = [
        Operation(operator=operator, arguments=list(parts)).accept(InBedderTranslator())
        for operator in (Operator.AND, Operator.OR, Operator.NOT)
    ]
    one, two = YEAR == 1, YEAR == 2
    assert made == [one & two, one | two, ~(one | two)]
    with pytest.raises(DocumentError, match="no conditions"):
        Operation(operator=Operator.AND, arguments=[]).accept(InBedderTranslator())


def test_a_structured_query_is_searched(store: InBedderVectorStore) -> None:
    store.add_texts(["a fish"] * 4, [{"year": year} for year in range(1993, 1997)])
    asked = StructuredQuery(query="fish", filter=compared(Comparator.GTE, 1995), limit=None)
    query, options = InBedderTranslator().visit_structured_query(asked)
    found = store.similarity_search(query, **options)
    assert {one.metadata["year"] for one in found} == {1995, 1996}
    plain = StructuredQuery(query="fish", filter=None, limit=1)
    assert InBedderTranslator().visit_structured_query(plain) == ("fish", {"k": 1})


def test_a_value_that_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DocumentError, match="text, a number or a date"):
        compared(Comparator.EQ, {"type": "place"}).accept(InBedderTranslator())
