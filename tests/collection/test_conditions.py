"""Filters give what a plain reading of the metadata gives, on both engines and with any index."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import GENERAL, Document, ViewCollection, Where
from inbedder_retrieval.testing import FakeEmbedder

UTC = timezone.utc
EAST = timezone(timedelta(hours=2))
NUMBERS = [-1, 0, 1, 2**40, -0.5, 1.0, 1.5]
# Stored texts and the moments they stand for, in whole microseconds.
MOMENTS = {
    "2026-01-31": datetime(2026, 1, 31, tzinfo=UTC),
    "2026-01-31T12:00:00Z": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "2026-01-31T12:00:00.0000009Z": datetime(2026, 1, 31, 12, tzinfo=UTC),
    "2026-01-31 12:00:00.000001": datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC),
    "2026-02-01T01:30:00+02:00": datetime(2026, 1, 31, 23, 30, tzinfo=UTC),
    "2026-02-01": datetime(2026, 2, 1, tzinfo=UTC),
    "1969-12-31T23:59:59.9999999Z": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    "0001-01-01": datetime(1, 1, 1, tzinfo=UTC),
    "9999-12-31T23:59:59.999999Z": datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
}
SCALARS = [True, False, "", "x", "X", "1", "true", "ax b", "2026-02-30", *NUMBERS, *MOMENTS]
DATES: list[date] = [
    date(2026, 1, 31),
    date(2026, 2, 1),
    date.min,
    date.max,
    datetime(2026, 1, 31, 12),
    datetime(2026, 1, 31, 14, tzinfo=EAST),
    datetime(1970, 1, 1),
    datetime.max,
]
TEXTS = ["x", "X", " ", "x b", "2026-01", "1"]
FIELDS = ["a", "b", "nested", "nested.a", "nested.deep.a", "absent"]
KINDS: dict[str, Any] = {"keyword": "k", "float": 1.25, "bool": True, "datetime": "2026-01-01"}

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
one_value = st.sampled_from([*SCALARS, *DATES])
names_of_bounds = st.sampled_from(["gt", "gte", "lt", "lte"])
# All numbers, or all dates.
bounds: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.dictionaries(names_of_bounds, st.sampled_from(NUMBERS), min_size=1, max_size=2),
    st.dictionaries(names_of_bounds, st.sampled_from(DATES), min_size=1, max_size=2),
)
conditions = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne", "contains"]), fields, one_value),
    st.tuples(st.just("in"), fields, st.lists(one_value, min_size=1, max_size=3)),
    st.tuples(st.just("within"), fields, bounds),
    st.tuples(names_of_bounds, fields, st.sampled_from([*NUMBERS, *DATES])),
    st.tuples(st.just("match"), fields, st.sampled_from(TEXTS)),
    st.tuples(st.sampled_from(["exists", "null"]), fields, st.booleans()),
    st.tuples(st.just("ids"), st.just(""), st.lists(st.sampled_from("01234z"), min_size=1)),
)
expressions = st.recursive(
    conditions,
    lambda inside: st.one_of(
        st.tuples(st.just("and"), inside, inside),
        st.tuples(st.just("or"), inside, inside),
        st.tuples(st.just("not"), inside),
    ),
    max_leaves=5,
)
COMPARE: dict[str, Any] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def build(expression: Expression) -> Any:
    """Write the expression with operators."""
    name, *rest = expression
    if name in ("and", "or"):
        join = operator.and_ if name == "and" else operator.or_
        return join(build(rest[0]), build(rest[1]))
    if name == "not":
        return ~build(rest[0])
    if name == "ids":
        return Where.ids(rest[1])
    field, value = Where.field(rest[0]), rest[1]
    if name in COMPARE:
        return COMPARE[name](field, value)
    if name in ("exists", "null"):
        found = field.exists() if name == "exists" else field.is_null()
        return found if value else ~found
    if name == "within":
        return field.within(**value)
    if name == "in":
        return field.is_in(value)
    if name == "match":
        return field.matches(value)
    if name == "contains":
        return field.contains(value)
    if name == "eq":
        return field == value
    return field != value


def as_dict(expression: Expression) -> dict[str, Any]:
    """Write the expression as a dict."""
    name, *rest = expression
    if name in ("and", "or"):
        return {f"${name}": [as_dict(one) for one in rest]}
    if name == "not":
        return {"$not": as_dict(rest[0])}
    if name == "ids":
        return {"$ids": rest[1]}
    return {rest[0]: rest[1] if name == "within" else {name: rest[1]}}


def holds(expression: Expression, name_of_row: str, data: dict[str, Any]) -> bool:
    """Whether the expression holds of a document, by the documentation of filters."""
    name, *rest = expression
    if name == "and":
        return all(holds(one, name_of_row, data) for one in rest)
    if name == "or":
        return any(holds(one, name_of_row, data) for one in rest)
    if name == "not":
        return not holds(rest[0], name_of_row, data)
    if name == "ids":
        return name_of_row in rest[1]
    value: Any = data
    missing = object()
    for key in rest[0].split("."):
        value = value.get(key, missing) if isinstance(value, dict) else missing
    elements = value if isinstance(value, list) else [value]
    if name == "exists":
        return rest[1] is not (value is missing or value is None or value == [])
    if name == "null":
        return rest[1] is (None in elements)
    if name == "match":
        return any(isinstance(one, str) and rest[1] in one for one in elements)
    if name in COMPARE:
        return any(within(one, {name: rest[1]}) for one in elements)
    if name == "within":
        return any(within(one, rest[1]) for one in elements)
    wanted = rest[1] if name == "in" else [rest[1]]
    return (name != "ne") is any(alike(one, value) for one in elements for value in wanted)


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def within(value: object, limits: dict[str, Any]) -> bool:
    """Whether a stored value is a number or a moment within all of the limits."""
    return all(compares(value, name, bound) for name, bound in limits.items())


def compares(value: Any, name: str, bound: Any) -> bool:
    if is_number(bound):
        return is_number(value) and bool(COMPARE[name](value, bound))
    if not isinstance(value, str) or value not in MOMENTS:
        return False
    moment = MOMENTS[value]
    if not isinstance(bound, datetime):
        return bool(COMPARE[name](moment.date(), bound))
    return bool(COMPARE[name](moment, bound if bound.tzinfo else bound.replace(tzinfo=UTC)))


def alike(one: object, value: object) -> bool:
    if isinstance(value, date):
        return within(one, {"gte": value, "lte": value})
    same_kind = type(one) is type(value) or (is_number(one) and is_number(value))
    return same_kind and one == value


def found(collection: ViewCollection, where: Any) -> set[str]:
    return {hit.id for hit in collection.search("x", filter=where, limit=1_000)}


def add(collection: ViewCollection, rows: list[dict[str, Any]]) -> None:
    collection.add(Document("x", id=n, metadata=row) for n, row in enumerate(rows))


def every_condition() -> Iterator[Expression]:
    """Every kind of condition on one field with every value."""
    for name, value in itertools.product(["eq", "ne"], [*SCALARS, *DATES]):
        yield name, "a", value
    for name, value in itertools.product(COMPARE, [*NUMBERS, *DATES]):
        yield name, "a", value
    for text in TEXTS:
        yield "match", "a", text
    for name, value in itertools.product(["exists", "null"], [True, False]):
        yield name, "a", value


def every_row() -> list[dict[str, Any]]:
    """Every value in that field, alone and in lists."""
    alone = [*SCALARS, None, {}, {"a": 1}]
    lists = [[], [None], [[1, "x"]], *([one] for one in SCALARS), *([None, one] for one in SCALARS)]
    return [{}, {"b": 1}, *({"a": value} for value in [*alone, *lists])]


def about_dates(expression: Expression) -> bool:
    return isinstance(expression[-1], date)


@pytest.mark.parametrize("kind", ["memory", "server", "folder", *KINDS])
def test_every_condition_gives_what_plain_python_gives(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Also over the wire, and where the field has an index of a kind that may not be its own."""
    rows = every_row()
    # A comparison with dates drops an index of numbers and the other way round: those come last.
    ordered = sorted(every_condition(), key=about_dates, reverse=kind == "datetime")
    place = ":memory:" if kind == "memory" else tmp_path / "c.inb"
    if kind == "server":
        place = f"{request.getfixturevalue('qdrant_server').url}/c"
    with ViewCollection.create(place, GENERAL, FakeEmbedder(dimension=4)) as collection:
        if kind in KINDS:
            index_every_field(collection, kind)
        add(collection, rows)
        for expression in ordered:
            names = {str(n) for n, row in enumerate(rows) if holds(expression, str(n), row)}
            if kind == "folder":
                # A search would make an index.
                assert collection.count(build(expression)) == len(names), expression
            else:
                assert found(collection, build(expression)) == names, expression


some_rows = st.lists(metadata, min_size=1, max_size=12)
some_expressions = st.lists(expressions, min_size=1, max_size=8)


@pytest.fixture(scope="module")
def memory() -> Iterator[ViewCollection]:
    with ViewCollection.create(":memory:", GENERAL, FakeEmbedder(dimension=4)) as collection:
        yield collection


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Names of folders that do not exist yet."""
    root = tmp_path_factory.mktemp("filters")
    return (root / f"{number}.inb" for number in itertools.count())


@settings(max_examples=50, deadline=None)
@given(rows=some_rows, asked=some_expressions)
def test_joined_conditions_give_what_plain_python_gives(
    memory: ViewCollection, folders: Iterator[Path], rows: list[dict[str, Any]], asked: list[Any]
) -> None:
    """In memory, and in a folder before a search makes indexes and after it."""
    with ViewCollection.create(next(folders), GENERAL, FakeEmbedder(dimension=4)) as folder:
        add(memory, rows)
        add(folder, rows)
        try:
            for expression in asked:
                where, written = build(expression), as_dict(expression)
                names = {str(n) for n, row in enumerate(rows) if holds(expression, str(n), row)}
                assert folder.count(where) == len(names)
                for collection in (memory, folder):
                    assert found(collection, where) == found(collection, written) == names
                    assert collection.count(where) == len(names)
        finally:
            memory.delete(range(len(rows)))


def index_every_field(collection: ViewCollection, kind: str) -> None:
    """Have a search make an index of the kind on every field."""
    stored = KINDS[kind]
    value = date(2026, 1, 1) if kind == "datetime" else stored
    rows = [
        {"a": stored, "b": stored, "absent": stored, "nested": stored},
        {"nested": {"a": stored, "deep": {"a": stored}}},
    ]
    add(collection, rows)
    for field in FIELDS:
        assert len(collection.search("x", filter={field: value})) == 1
    collection.delete(range(len(rows)))
    assert collection.info().indexed_fields == sorted(FIELDS)


def test_an_index_that_would_answer_wrongly_is_not_asked(tmp_path: Path) -> None:
    """Qdrant's index of numbers answers a comparison with dates by its numbers, and so about."""
    rows = {"number": 1_769_817_600_000_000, "date": "2026-01-31T00:00:00Z", "text": "soon"}
    dated = Where.field("k") > date(2026, 1, 1)
    numbered = Where.field("k") > 0
    with ViewCollection.create(tmp_path / "c.inb", GENERAL, FakeEmbedder()) as collection:
        collection.add(Document("x", id=name, metadata={"k": k}) for name, k in rows.items())
        for where, name in ((numbered, "number"), (dated, "date")) * 2:
            assert [hit.id for hit in collection.search("x", filter=where)] == [name]
            assert collection.count(where) == 1
        assert collection.count(dated | numbered) == 2
    for first, second, name in ((numbered, dated, "date"), (dated, numbered, "number")):
        with ViewCollection.open(tmp_path / "c.inb", FakeEmbedder()) as collection:
            assert collection.search("x", filter=first)
            assert collection.info().indexed_fields == ["k"]
        with ViewCollection.open(tmp_path / "c.inb", FakeEmbedder()) as collection:
            assert [hit.id for hit in collection.search("x", filter=second)] == [name]
