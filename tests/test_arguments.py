from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inbedder_retrieval import (
    GENERAL,
    Document,
    InputError,
    UnknownView,
    View,
    ViewCollection,
    ViewError,
    Views,
    Where,
)
from inbedder_retrieval.arguments import (
    parse_answers,
    parse_condition,
    parse_conditions,
    parse_views,
    parse_weights,
)
from inbedder_retrieval.testing import FakeEmbedder


def test_views_are_read_as_typed() -> None:
    given = ["general", " feeling = How does it feel = to you? "]
    assert parse_views(given, None) == Views(
        [GENERAL, View("feeling", "How does it feel = to you?")]
    )
    assert parse_views(None, None) is None
    assert parse_views([], None) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.toml", '[views]\ngeneral = true\nneed = "What is needed?"\n'),
        ("v.json", '{"views": {"general": true, "need": "What is needed?"}}'),
    ],
)
def test_views_are_read_from_a_file(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert parse_views(None, tmp_path / name) == Views([GENERAL, View("need", "What is needed?")])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["feeling"], r"given as 'feeling'; write name=question.*or general"),
        (["feeling="], "a question must hold some text"),
        (["feeling=  "], "a question must hold some text"),
        (["=How?"], "a view is named ''"),
        (["a/b=How?"], "a view is named 'a/b'"),
        (["-v=How?"], "begins with a letter"),
        ([f"{'n' * 65}=How?"], "1 to 64 letters"),
        (["general=How?"], "'general' takes no question"),
        (["a=How?", "a=Why?"], "'a' is given twice"),
    ],
)
def test_views_that_cannot_be_say_why(given: list[str], message: str) -> None:
    with pytest.raises(ViewError, match=message):
        parse_views(given, None)


def test_views_come_from_options_or_from_a_file_and_not_from_both(tmp_path: Path) -> None:
    with pytest.raises(ViewError, match="both --view and --views"):
        parse_views(["general"], tmp_path / "v.toml")
    with pytest.raises(ViewError, match=r"v\.toml cannot be read"):
        parse_views(None, tmp_path / "v.toml")


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        (None, None),
        ([], None),
        (["feeling"], {"feeling": 1.0}),
        (["feeling=0.7", "need=3e-1"], {"feeling": 0.7, "need": 0.3}),
        (["feeling", "need=2"], {"feeling": 1.0, "need": 2.0}),
        (["feeling = 0.5"], {"feeling": 0.5}),
    ],
)
def test_weights_are_read_as_typed(
    given: list[str] | None, weights: dict[str, float] | None
) -> None:
    assert parse_weights(given) == weights


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["feeling=much"], "'feeling=much'; write a view's name, or name=weight"),
        (["feeling="], "name=weight with a number"),
        (["feeling=0,5"], "name=weight with a number"),
        (["feeling=How does the customer feel?"], "name=weight with a number"),
        (["feeling", "feeling=2"], "'feeling' is given twice"),
    ],
)
def test_weights_that_cannot_be_say_why(given: list[str], message: str) -> None:
    with pytest.raises(ViewError, match=message):
        parse_weights(given)


ROWS: list[dict[str, Any]] = [
    {"k": "phone"},
    {"k": "7"},
    {"k": 7},
    {"k": 7.0},
    {"k": 8.5},
    {"k": -1},
    {"k": "true"},
    {"k": True},
    {"k": False},
    {"k": "nan"},
    {"k": "inf"},
    {"k": "a=b <c>"},
    {"k": " padded"},
    {"k": ["phone", 9]},
    {"k": {"n": 7}},
    {"k": None},
    {"k": ""},
    {"k": "2026-01-31"},
    {"k": "2026-01-31T14:00:00Z"},
    {"k": "2026-02-01"},
    {"k": "2025-12-31 10:00"},
    {},
]


def number(value: object) -> float | None:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if plain else None  # type: ignore[arg-type]


def any_of(*wanted: object) -> Callable[[object], bool]:
    """Equal in value and in kind: True is no 1, and 7 is 7.0."""
    keys = {(isinstance(one, bool), one) for one in wanted}
    return lambda value: any(
        (isinstance(one, bool), one) in keys
        for one in (value if isinstance(value, list) else [value])
        if not isinstance(one, dict)
    )


def within(low: float, high: float) -> Callable[[object], bool]:
    """Between the bounds, both included, or a list with such a number."""
    return lambda value: any(
        (found := number(one)) is not None and low <= found <= high
        for one in (value if isinstance(value, list) else [value])
    )


def holding(text: str) -> Callable[[object], bool]:
    """A text that holds this one, or a list with such a text."""
    return lambda value: any(
        isinstance(one, str) and text in one
        for one in (value if isinstance(value, list) else [value])
    )


def unless(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: not holds(value)


CONDITIONS: list[tuple[str, Callable[[object], bool]]] = [
    ("k=phone", any_of("phone")),
    ("k = phone", any_of("phone")),
    ("k!=phone", unless(any_of("phone"))),
    ("k=7", any_of("7", 7)),
    ("k=7.0", any_of("7.0", 7)),
    ("k!=7", unless(any_of("7", 7))),
    ("k=true", any_of("true", True)),
    ("k=false", any_of("false", False)),
    ("k!=true", unless(any_of("true", True))),
    ("k=nan", any_of("nan")),
    ("k!=inf", unless(any_of("inf"))),
    ("k=a=b <c>", any_of("a=b <c>")),
    ("k=", any_of("")),
    ("k<7", within(-1e9, 6.9)),
    ("k<=7", within(-1e9, 7)),
    ("k>7", within(7.1, 1e9)),
    ("k >= 7", within(7, 1e9)),
    ("k>-1.5e0", within(-1.5, 1e9)),
    ("k~hon", holding("hon")),
    ("k ~ true", holding("true")),
    ("k!~hon", unless(holding("hon"))),
    ("k~b <c", holding("b <c")),
    ("k?", lambda value: value is not None),
    (" k !? ", lambda value: value is None),
    ("k=2026-01-31", any_of("2026-01-31", "2026-01-31T14:00:00Z")),
    ("k!=2026-01-31", unless(any_of("2026-01-31", "2026-01-31T14:00:00Z"))),
    ("k>=2026-01-31", any_of("2026-01-31", "2026-01-31T14:00:00Z", "2026-02-01")),
    ("k<=2026-01-31", any_of("2026-01-31", "2026-01-31T14:00:00Z", "2025-12-31 10:00")),
    ("k>2026-01-31", any_of("2026-02-01")),
    ("k<2026-01-31T14:00+01:00", any_of("2026-01-31", "2025-12-31 10:00")),
]


@pytest.mark.parametrize(("typed", "holds"), CONDITIONS, ids=[typed for typed, _ in CONDITIONS])
@pytest.mark.parametrize("location", [":memory:", "folder"])
def test_a_condition_finds_what_it_says(
    tmp_path: Path, location: str, typed: str, holds: Callable[[object], bool]
) -> None:
    documents = [Document("a", id=n, metadata=row) for n, row in enumerate(ROWS)]
    expected = {str(n) for n, row in enumerate(ROWS) if holds(row.get("k"))}
    assert 0 < len(expected) < len(ROWS)
    where = parse_condition(typed)
    place = tmp_path / "c.inb" if location == "folder" else location
    with ViewCollection.create(place, GENERAL, FakeEmbedder()) as collection:
        collection.add(documents)
        hits = collection.search("a", filter=where, limit=len(ROWS))
    assert {hit.id for hit in hits} == expected


def test_a_dot_goes_into_a_nested_object() -> None:
    assert parse_condition("k.n>=7") == (Where.field("k.n") >= 7)


def test_a_key_in_double_quotes_may_hold_any_sign() -> None:
    assert parse_condition('"k=n.m" >= 7') == (Where.field('"k=n.m"') >= 7)


def test_a_field_may_hold_a_question_mark() -> None:
    assert parse_condition("new?>7") == (Where.field("new?") > 7)
    assert parse_condition("new??") == Where.field("new?").exists()


def test_every_digit_of_a_whole_number_counts() -> None:
    k = Where.field("k")
    exact = k == 2**53 + 1
    assert parse_condition(f"k={2**53 + 1}").parts == (k == str(2**53 + 1), exact)


VALUE = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda value: value == value.strip() and not value.startswith(("=", "<", ">"))
)


@settings(max_examples=50, deadline=None)
@given(value=VALUE)
@example("nan")
@example("-Infinity")
@example("1e999")
@example("9" * 400)
@example("9999-12-31")
@example("0001-01-01T00:00+05:00")
def test_whatever_is_typed_is_looked_for_as_text(value: str) -> None:
    assert (Where.field("k") == value) in parse_condition(f"k={value}").parts


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "write field=value"),
        ("price", "'price'; write field=value"),
        ("=3", "write field=value"),
        ("!=3", "write field=value"),
        ("  =3", "metadata key|write field=value"),
        ("price!3", "write field=value"),
        ("price<cheap", "< needs a number"),
        ("price>=", ">= needs a number"),
        ("price<>3", "needs a number"),
        ("price<nan", "finite number"),
        ("price<=inf", "finite number"),
        ("price==3", "write = instead of =="),
        ("name~=x", "write ~ instead of ~="),
        ("price? 3", "write field=value"),
        ("?", "write field=value"),
        ("~x", "write field=value"),
        ("name~", "give some text"),
        ("day<2026-02-30", "or a date such as 2026-01-31"),
    ],
)
def test_a_condition_that_cannot_be_says_why(typed: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_condition(typed)


def test_conditions_must_all_hold() -> None:
    assert parse_conditions(None) is None
    assert parse_conditions(["a=b"]) == parse_condition("a=b")
    joined = parse_condition("a<1") & parse_condition("b!=2") & parse_condition("c?")
    assert parse_conditions(["a<1", "b!=2", "c?"]) == joined


ASKED = Views([GENERAL, View("need", "What?"), View("the mood", "How?")])


@pytest.mark.parametrize(
    ("given", "answers"),
    [
        (None, None),
        ([], None),
        (["a refund"], "a refund"),
        (["the price = 3"], "the price = 3"),
        (["need=a refund"], {"need": "a refund"}),
        (["need=a=b"], {"need": "a=b"}),
        (["the mood = bad"], {"the mood": "bad"}),
        (["need=x", "the mood=y"], {"need": "x", "the mood": "y"}),
    ],
)
def test_answers_are_read_as_typed(
    given: list[str] | None, answers: str | dict[str, str] | None
) -> None:
    assert parse_answers(given, ASKED) == answers


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([""], "--answer is empty"),
        (["need="], "answer for view 'need' is empty"),
        (["mood=bad"], "no view 'mood' here; the collection has general, need, the mood"),
        (["need=x", "y"], "write name=answer"),
        (["need=x", "a b=y"], "no view 'a b' here"),
        (["need=x", "need=y"], "twice for view 'need'"),
    ],
)
def test_answers_that_cannot_be_say_why(given: list[str], message: str) -> None:
    with pytest.raises((InputError, UnknownView), match=message):
        parse_answers(given, ASKED)
