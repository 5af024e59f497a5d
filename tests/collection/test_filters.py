"""Filters give what a plain reading of the metadata gives, on both engines."""

from __future__ import annotations

import functools
import operator
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import Document, DocumentError, ViewCollection, Where
from inbedder_retrieval.collection.engine import Engine, Point, VectorQuery, create_engine
from inbedder_retrieval.collection.filters import parse_where

NUMBERS = [-1, 0, 1, 2**40, -0.5, 1.0, 1.5]
SCALARS = [True, False, "", "x", "X", "1", "true", *NUMBERS]
FIELDS = ["a", "b", "nested", "nested.a", "nested.deep.a", "absent"]
VECTOR = np.array([1, 0, 0, 0], dtype=np.float32)

leaves = st.one_of(st.none(), st.sampled_from(SCALARS))
values = st.one_of(leaves, st.lists(leaves, max_size=3))
inner = st.dictionaries(st.sampled_from(["a", "b"]), values)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "a": values,
        "b": values,
        "nested": st.one_of(
            values,
            inner,
            st.lists(inner, max_size=2),
            st.builds(lambda found, deep: found | {"deep": deep}, inner, inner),
        ),
    },
)

# An expression is (name, ...) and knows nothing of Where, so that it can be read independently.
Expression = tuple[Any, ...]
fields = st.sampled_from(FIELDS)
bounds = st.dictionaries(
    st.sampled_from(["gt", "gte", "lt", "lte"]), st.sampled_from(NUMBERS), min_size=1, max_size=2
)
one_value = st.tuples(st.just("equals"), fields, st.sampled_from(SCALARS))
some_values = st.tuples(
    st.just("any_of"), fields, st.lists(st.sampled_from(SCALARS), min_size=1, max_size=3)
)
conditions = st.one_of(one_value, some_values, st.tuples(st.just("range"), fields, bounds))
expressions = st.recursive(
    conditions,
    lambda inside: st.one_of(
        st.tuples(st.just("and"), inside, inside),
        st.tuples(st.just("or"), inside, inside),
        st.tuples(st.just("not"), inside),
    ),
    max_leaves=5,
)


def build(expression: Expression) -> Where:
    name, *rest = expression
    if name == "and":
        return build(rest[0]) & build(rest[1])
    if name == "or":
        return build(rest[0]) | build(rest[1])
    if name == "not":
        return ~build(rest[0])
    if name == "equals":
        return Where.equals(rest[0], rest[1])
    if name == "any_of":
        return Where.any_of(rest[0], rest[1])
    return Where.range(rest[0], **rest[1])


def holds(expression: Expression, data: dict[str, Any]) -> bool:
    """Whether the expression holds of a document's metadata, by the documentation of Where."""
    name, *rest = expression
    if name == "and":
        return holds(rest[0], data) and holds(rest[1], data)
    if name == "or":
        return holds(rest[0], data) or holds(rest[1], data)
    if name == "not":
        return not holds(rest[0], data)
    found: Any = data
    for key in rest[0].split("."):
        found = found.get(key) if isinstance(found, dict) else None
    candidates = found if isinstance(found, list) else [found]
    if name == "range":
        return any(is_number(one) and within(one, rest[1]) for one in candidates)
    wanted = rest[1] if name == "any_of" else [rest[1]]
    return any(alike(one, value) for one in candidates for value in wanted)


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def within(number: float, limits: dict[str, float]) -> bool:
    compare = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
    return all(compare[name](number, bound) for name, bound in limits.items())


def alike(one: object, value: object) -> bool:
    same_kind = type(one) is type(value) or (is_number(one) and is_number(value))
    return same_kind and one == value


@pytest.fixture(scope="module", params=["memory", "folder", "keyword", "float", "bool"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """An engine without indexes, or with one of a kind on every field: none may change a result."""
    folder = tmp_path_factory.mktemp("filters") / "c.inb"
    location = ":memory:" if request.param == "memory" else folder
    engine = create_engine(location, {"v": 4}, {})
    if request.param not in ("memory", "folder"):
        engine.index_fields({f"metadata.{field}": request.param for field in FIELDS})
    yield engine
    engine.close()


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(metadata, min_size=1, max_size=12), expression=expressions)
def test_a_filter_gives_what_plain_python_gives(
    engine: Engine, rows: list[dict[str, Any]], expression: Expression
) -> None:
    points = [
        Point(str(uuid.UUID(int=n)), {"n": n, "metadata": row}, {"v": VECTOR})
        for n, row in enumerate(rows)
    ]
    engine.upsert(points)
    try:
        where = build(expression)
        expected = {n for n, row in enumerate(rows) if holds(expression, row)}
        found = engine.search([VectorQuery("v", VECTOR)], limit=100, where=where)
        assert {point.payload["n"] for point in found} == expected
        assert engine.count(where) == len(expected)
    finally:
        engine.delete([point.id for point in points])


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
        (Where.equals("product", "chair") & Where.range("maker.year", lt=2000), "5"),
        (Where.equals("product", "phone") | Where.equals("tags", "gift"), "0 1 2"),
        (~Where.range("price", gt=-10), "5 6 7"),
        (~(Where.equals("product", "phone") | Where.equals("product", "lamp")), "4 5 6 7"),
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
    each = [Where.equals("product", value) for value in values]
    assert collection.count(functools.reduce(operator.or_, each)) == 2
    assert collection.count(functools.reduce(operator.and_, [~one for one in each])) == 6


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
        ({"a": {"above": 3}}, "the filter on 'a' has 'above'; a bound is one of"),
        ({"a": {"gt": "3"}}, "the bound gt='3' on 'a' must be a number"),
        ({"a": {"gt": True}}, "the bound gt=True on 'a' must be a number"),
        ({"a": {"gt": float("nan")}}, "the bound gt on 'a' is nan"),
        ({"a": float("inf")}, "on 'a' is inf"),
        ({"a": 2**63}, "beyond 64 bits"),
        ({"a": None}, "the filter on 'a' compares with NoneType"),
        ({"a": [None]}, "the filter on 'a' compares with NoneType"),
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
            join(Where.equals("product", "phone"), other)
