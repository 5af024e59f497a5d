"""What a filter says, how it is written, and which are refused; see also `test_conditions.py`."""

from __future__ import annotations

import functools
import operator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from inbedder_retrieval import Document, DocumentError, ViewCollection, Where
from inbedder_retrieval.collection.filters import parse_where


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"product": "phone"}, "0 1"),
        ({"product": "Phone"}, ""),
        ({"product": "phone", "new": True}, "0"),
        ({"new": False}, "1"),
        ({"new": 1}, ""),
        ({"price": 10}, "0"),
        ({"price": 10.0}, "0"),
        ({"price": "10"}, ""),
        ({"price": True}, ""),
        ({"price": [3, 10.5, "phone"]}, "1 2"),
        ({"price": {"gte": 3, "lt": 10.5}}, "0 2 3"),
        ({"price": {"lt": 0}, "product": ["phone", "lamp"]}, ""),
        ({"tags": "small"}, "2 3"),
        ({"tags": ("gift", "large")}, "2"),
        ({"maker.name": "oak"}, "5"),
        ({"maker.year": {"gt": 1999}}, "6"),
        ({"maker": "oak"}, ""),
        ({"nowhere": "x"}, ""),
        ({"product": {"ne": "phone"}}, "2 3 4 5 6 7"),
        ({"product": {"in": ["lamp", "chair"]}, "price": {"exists": True}}, "2 3"),
        ({"price": {"gte": 3, "lt": 10.5, "ne": 4}}, "0 2"),
        ({"tags": {"contains": "gift"}}, "2"),
        ({"product": {"match": "ho"}}, "0 1"),
        ({"product": {"match": "HO"}}, ""),
        ({"product": {"exists": False}}, "4 7"),
        ({"product": {"null": True}}, "4"),
        ({"product": {"null": False, "match": "a"}}, "2 3 5 6"),
        ({"$or": [{"price": 3}, {"product": "chair"}], "$not": {"maker.name": "oak"}}, "2 6"),
        ({"$and": [{"product": "lamp"}, Where.field("price") > 3]}, "3"),
        ({"$ids": ["d1", "d7", "d99"]}, "1 7"),
        (~Where.ids(f"d{number}" for number in range(6)), "6 7"),
        (Where.ids(["d1", "d2"]) & (Where.field("product") == "phone"), "1"),
        ((Where.field("price") > 3) & (Where.field("price") <= 10), "0 3"),
        (operator.lt(3, Where.field("price")), "0 1 3"),
        ((Where.field("product") == "chair") & (Where.field("maker.year") < 2000), "5"),
        ((Where.field("product") == "phone") | Where.field("tags").contains("gift"), "0 1 2"),
        (~(Where.field("price") > -10), "5 6 7"),
        (~Where.field("product").is_in(["phone", "lamp"]), "4 5 6 7"),
    ],
)
def test_a_collection_is_filtered_by_its_metadata(
    collection: ViewCollection, documents: list[Document], filter: Any, expected: str
) -> None:
    collection.add(documents)
    wanted = [f"d{number}" for number in expected.split()]
    for weights in ({"general": 1.0}, {"general": 1.0, "need": 0.5}):
        assert collection.count(filter) == len(wanted)
        hits = collection.search("the phone", views=weights, filter=filter)
        assert sorted(hit.id for hit in hits) == wanted


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, -(2**63) + 1, 1_234_567_890_123_456_789])
def test_a_large_integer_equals_itself_and_not_its_neighbours(
    collection: ViewCollection, number: int
) -> None:
    nearer = number - 1 if number > 0 else number + 1
    rows = {"itself": number, "neighbour": nearer, "text": str(number)}
    collection.add(Document("x", id=name, metadata={"k": value}) for name, value in rows.items())
    for _ in ("without an index", "with one"):
        hits = collection.search("x", view="general", filter={"k": number})
        assert [hit.id for hit in hits] == ["itself"]
        assert collection.count({"k": [number, "other"]}) == 1
        collection.search("x", view="general", filter={"k": {"gt": 0}})


@pytest.mark.parametrize("number", [0.15350424197072265, 1763676000.1234567, -1.7392e61])
def test_a_number_of_many_digits_equals_itself(collection: ViewCollection, number: float) -> None:
    rows = {"itself": number, "neighbour": number * (1 + 1e-12)}
    collection.add(Document("x", id=name, metadata={"k": value}) for name, value in rows.items())
    for _ in ("without an index", "with one"):
        hits = collection.search("x", view="general", filter={"k": number})
        assert [hit.id for hit in hits] == ["itself"]


@pytest.mark.parametrize(
    "key", ["Ship mode", "größe", "名前", "a/b", "a:b", "price ($)", "it's", "tags[]", "a-b_c"]
)
def test_any_metadata_key_without_a_dot_can_be_filtered(
    collection: ViewCollection, key: str
) -> None:
    rows = [{key: "x"}, {key: "y"}, {"other": "x"}]
    collection.add(Document("text", id=n, metadata=row) for n, row in enumerate(rows))
    for _ in ("without an index", "with one"):
        hits = collection.search("text", view="general", filter={key: "x"})
        assert [hit.id for hit in hits] == ["0"]
        assert collection.count({key: "x"}) == 1


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ('"a.b"', ["dotted"]),
        ("a.b", ["nested"]),
        ('"a.b"."c d"', ["deep"]),
        ('"a"."b"', ["nested"]),
    ],
)
def test_a_key_in_double_quotes_may_hold_a_dot(
    collection: ViewCollection, field: str, found: list[str]
) -> None:
    rows: dict[str, dict[str, Any]] = {
        "dotted": {"a.b": "x"},
        "nested": {"a": {"b": "x"}},
        "deep": {"a.b": {"c d": "x"}},
    }
    collection.add(Document("text", id=name, metadata=row) for name, row in rows.items())
    for _ in ("without an index", "with one"):
        hits = collection.search("text", view="general", filter={field: "x"})
        assert [hit.id for hit in hits] == found


def test_a_filter_may_have_many_parts(
    collection: ViewCollection, documents: list[Document]
) -> None:
    collection.add(documents)
    values = [f"no-{number}" for number in range(1500)] + ["phone"]
    assert collection.count({"product": values}) == 2
    each = [Where.field("product") == value for value in values]
    assert collection.count(functools.reduce(operator.or_, each)) == 2
    assert collection.count(functools.reduce(operator.and_, [~one for one in each])) == 6


def test_bounds_given_together_are_of_one_element_of_a_list(collection: ViewCollection) -> None:
    field = Where.field("k")
    collection.add(
        Document("x", id=name, metadata={"k": k})
        for name, k in {"around": [1, 9], "within": [4, 9]}.items()
    )
    assert collection.count((field > 3) & (field < 5)) == 2
    for where in (field.within(gt=3, lt=5), {"k": {"gt": 3, "lt": 5}}):
        assert [hit.id for hit in collection.search("x", view="general", filter=where)] == [
            "within"
        ]


def test_a_key_that_begins_with_a_dollar_sign_is_quoted_in_a_dict(
    collection: ViewCollection,
) -> None:
    collection.add(Document("x", id=n, metadata={"$or": n}) for n in range(3))
    assert collection.count({'"$or"': 1}) == 1
    assert collection.count(Where.field("$or") == 1) == 1
    with pytest.raises(DocumentError, match=r"the filter has '\$price'; there are \$and, \$or"):
        collection.count({"$price": 1})


def test_a_condition_is_neither_true_nor_false() -> None:
    price = Where.field("price")
    with pytest.raises(DocumentError, match=r"join conditions with & \| ~"):
        assert 3 < price < 10
    with pytest.raises(DocumentError, match=r"join conditions with & \| ~"):
        assert (price > 3 and price < 10) is None
    with pytest.raises(DocumentError, match=r"join conditions with & \| ~"):
        assert not price > 3
    with pytest.raises(DocumentError, match="the field 'price' alone is no condition"):
        assert price


def test_a_filter_may_be_nested_only_so_deep(collection: ViewCollection) -> None:
    """A deeper one would end the process: Qdrant Edge walks it by recursion."""
    where = Where.field("k") == 1
    as_dict: dict[str, Any] = {"k": 1}
    for _ in range(16):
        where = ~((Where.field("k") == 2) | where)
        as_dict = {"$not": {"$or": [{"k": 2}, as_dict]}}
    assert collection.count(where) == collection.count(as_dict) == 0
    with pytest.raises(DocumentError, match="nested more than 32 deep"):
        assert ~((Where.field("k") == 2) | where) is None
    deep: dict[str, Any] = {"k": 1}
    for _ in range(100_000):
        deep = {"$not": deep}
    with pytest.raises(DocumentError, match="nested more than 32 deep"):
        parse_where(deep)


def test_what_is_denied_twice_is_said() -> None:
    where = Where.field("k") == 1
    assert ~~where == where


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ({}, "the filter is {}"),
        ([], r"the filter is \[\]"),
        ("product=phone", "the filter is 'product=phone'"),
        ({"a": []}, "the filter on 'a' needs a list of at least one value"),
        ({"a": set()}, "the filter on 'a' needs a list of at least one value"),
        ({"a": {}}, "the range on 'a' has no bound"),
        ({"a": {"gt": None}}, "the range on 'a' has no bound"),
        (
            {"a": {"above": 3}},
            "the filter on 'a' has 'above'; there are gt, gte, lt, lte, eq, ne, in",
        ),
        ({"a": {"gt": "3"}}, "the bound gt='3' on 'a' must be a number"),
        ({"a": {"gt": 3, "lt": date(2026, 1, 31)}}, "must be a number, or all must be dates"),
        ({"a": {"gt": True}}, "the bound gt=True on 'a' must be a number"),
        ({"a": {"gt": float("nan")}}, "the bound gt on 'a' is nan"),
        ({"a": float("inf")}, "on 'a' is inf"),
        ({"a": 2**63}, "beyond 64 bits"),
        ({"a": None}, "the filter on 'a' compares with NoneType"),
        ({"a": [None]}, "the filter on 'a' compares with NoneType"),
        ({"a": None}, r"in a dict \{'null': True\}"),
        ({"a": {"eq": [1]}}, "the filter on 'a' compares with list"),
        ({"a": {"in": "x"}}, "needs a list of at least one value, not 'x'"),
        ({"a": {"in": None}}, "needs a list of at least one value, not None"),
        ({"a": {"in": {"x": 1}}}, "needs a list of at least one value"),
        ({"a": {"$lt": 3}}, "the filter on 'a' has '\\$lt'; there are gt, gte, lt"),
        ({"a": {"match": ""}}, "the text match on 'a' is ''; give some text"),
        ({"a": {"match": 3}}, "the text match on 'a' is 3; give some text"),
        ({"a": {"match": "\ud83d"}}, "the filter on 'a' holds the lone surrogate"),
        ({"a": {"exists": 1}}, "the filter asks exists: 1 of 'a'; give True or False"),
        ({"a": {"null": None}}, "the filter asks null: None of 'a'; give True or False"),
        ({"a": datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))}, "no moment of the"),
        ({"$nor": [{"a": 1}]}, r"the filter has '\$nor'; there are \$and, \$or, \$not and \$ids"),
        ({"$or": []}, r"\$or is \[\]; give a list of at least one filter"),
        ({"$and": {"a": 1}}, r"\$and is {'a': 1}; give a list of at least one filter"),
        ({"$or": [{}]}, "the filter is {}"),
        ({"$not": {}}, "the filter is {}"),
        ({"$not": "a"}, "the filter is 'a'"),
        ({"$ids": []}, "the filter on ids needs a list of at least one value"),
        ({"$ids": "d1"}, "the filter on ids needs a list of at least one value, not 'd1'"),
        ({"$ids": [1.5]}, "a document's id is float"),
        ({"a": b"x"}, "the filter on 'a' compares with bytes"),
        ({"a": "\ud83d"}, "the filter on 'a' holds the lone surrogate"),
        ({"": "x"}, "a filter names the field ''"),
        ({" ": 3}, "a filter names the field ' '"),
        ({7: "x"}, "a filter names the field 7"),
        ({"\ud83d": "x"}, "a filter's field holds the lone surrogate"),
        ({'the "best"': "x"}, "a filter names the field"),
        ({"back\\slash": "x"}, "a filter names the field"),
    ],
)
def test_a_filter_that_says_nothing_or_nonsense_is_refused(filter: Any, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        parse_where(filter)


@pytest.mark.parametrize("field", ["a..b", ".a", "a.", "."])
def test_a_field_with_nothing_between_its_dots_is_refused(field: str) -> None:
    with pytest.raises(DocumentError, match="a filter names the field"):
        parse_where({field: "x"})


@pytest.mark.parametrize("kind", ["all", "any", "none"])
def test_a_join_of_nothing_is_refused(kind: Any) -> None:
    with pytest.raises(DocumentError, match="filter"):
        parse_where(Where(kind))


def test_a_condition_is_joined_to_conditions_only() -> None:
    other: Any = {"price": 3}
    for join in (operator.and_, operator.or_):
        with pytest.raises(TypeError, match="unsupported operand"):
            join(Where.field("product") == "phone", other)
