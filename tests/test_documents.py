from __future__ import annotations

import json
import uuid
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import Document, DocumentError, dates_as_text, text_as_dates

NAME = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("given_", "kept"),
    [(7, "7"), ("7", "7"), (-1, "-1"), (" a", " a"), ("ü😀", "ü😀"), (NAME, str(NAME))],
)
def test_an_id_is_kept_as_text(given_: object, kept: str) -> None:
    assert Document("a", id=given_).id == kept


@pytest.mark.parametrize("wrong", ["", "  ", True, 1.5, b"a", ["a"]])
def test_what_is_no_id_is_refused(wrong: object) -> None:
    with pytest.raises(DocumentError, match="id is"):
        Document("a", id=wrong)


def test_an_id_cut_inside_an_emoji_is_refused() -> None:
    with pytest.raises(DocumentError, match=r"id holds the lone surrogate U\+D83D"):
        Document("a", id="x\ud83d")


def test_the_same_document_added_twice_is_one_document() -> None:
    first = Document("a text", metadata={"a": 1, "b": [1, 2]})
    assert first == Document("a text", metadata={"b": (1, 2), "a": 1})
    assert len(first.id) == 32
    assert int(first.id, 16) >= 0


def test_documents_that_differ_have_ids_that_differ() -> None:
    documents = [
        Document("a"),
        Document("b"),
        Document("a", metadata={"x": 1}),
        Document("a", metadata={"x": "1"}),
        Document("a", metadata={"x": None}),
        Document("", metadata={"a": ""}),
        Document(""),
    ]
    assert len({document.id for document in documents}) == len(documents)


def test_the_callers_metadata_is_copied() -> None:
    tags = ["gift"]
    document = Document("a", metadata={"tags": tags})
    tags.append("small")
    assert document.metadata == {"tags": ["gift"]}


@pytest.mark.parametrize("wrong", [None, 5, b"a", ["a"]])
def test_a_text_that_is_no_string_is_refused(wrong: Any) -> None:
    with pytest.raises(DocumentError, match=r"text is .*must be a string"):
        Document(wrong)


def test_a_text_cut_inside_an_emoji_is_refused() -> None:
    """JSON in UTF-8 cannot hold it: without this the document breaks where it is sent."""
    with pytest.raises(DocumentError, match=r"lone surrogate U\+D83D"):
        Document("so happy \ud83d")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), r"metadata\.x is nan; use a finite number"),
        (float("-inf"), r"metadata\.x is -inf"),
        (2**63, r"beyond 64 bits; store it as text"),
        (-(2**64), r"beyond 64 bits"),
        (b"raw", r"metadata\.x is bytes b'raw'"),
        (date(2024, 1, 2), r"metadata\.x is date .*ISO 8601"),
        ({1, 2}, r"metadata\.x is set"),
        ({1: "a"}, r"metadata\.x has the key 1; keys must be text"),
        ([0, {"y": float("nan")}], r"metadata\.x\[1\]\.y is nan"),
        ("\udc00", r"metadata\.x holds the lone surrogate U\+DC00"),
        ({"\udc00": 1}, r"a key of metadata\.x holds the lone surrogate"),
    ],
)
def test_metadata_that_json_or_qdrant_cannot_keep_is_refused(value: object, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        Document("a", metadata={"x": value})


@pytest.mark.parametrize("wrong", [[1], "product", 5])
def test_metadata_that_is_no_dict_is_refused(wrong: Any) -> None:
    with pytest.raises(DocumentError, match="metadata is"):
        Document("a", metadata=wrong)
    with pytest.raises(DocumentError, match="notes is"):
        Document("a", notes=wrong)


def test_notes_are_apart_from_metadata_and_no_part_of_the_name() -> None:
    document = Document("a", metadata={"x": 1}, notes={"x": [2]})
    assert (document.metadata, document.notes) == ({"x": 1}, {"x": [2]})
    assert document.id == Document("a", metadata={"x": 1}).id
    with pytest.raises(DocumentError, match=r"notes\.x is bytes"):
        Document("a", notes={"x": b"raw"})
    with pytest.raises(DocumentError, match="has the key '_notes', which"):
        Document("a", metadata={"_notes": {}})


def test_metadata_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    with pytest.raises(DocumentError, match="more than 32 levels deep"):
        Document("a", metadata=loop)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63 - 1), 1e308, True, None, [], {}, "\0"])
def test_the_limits_of_metadata_are_kept_exactly(value: object) -> None:
    kept = Document("a", metadata={"x": value}).metadata["x"]
    assert (type(kept), kept) == (type(value), value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=20), metadata=st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_a_document_crosses_a_wire_unchanged(text: str, metadata: dict[str, Any]) -> None:
    document = Document(text, metadata=metadata)
    wire = document.model_dump_json()
    assert Document.model_validate_json(wire) == document
    assert Document(**json.loads(wire)) == document


DATES = st.dates() | st.datetimes(
    timezones=st.none()
    | st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
        lambda offset: timezone(timedelta(seconds=int(offset.total_seconds())))
    )
).map(lambda moment: moment.replace(fold=0))
DATED = st.recursive(
    DATES | JSON,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(metadata=st.dictionaries(st.text(max_size=5), DATED, max_size=3))
def test_dates_become_text_and_dates_again(metadata: dict[str, Any]) -> None:
    before = repr(metadata)
    plain, places = dates_as_text(metadata)
    stored = Document("a", metadata=plain, notes={"dates": places})
    back = text_as_dates(stored.metadata, stored.notes["dates"])
    # The text of a date says its type and its zone, too.
    assert repr(back) == repr(metadata) == before


class Finer(datetime):
    """As pandas' Timestamp, which writes nanoseconds."""

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        return super().isoformat(sep, timespec) + "789"


class Never(datetime):
    """As pandas' NaT, which is not equal to itself."""

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def test_dates_of_other_classes_are_read_as_pythons() -> None:
    given_ = {"when": Finer(2026, 1, 31, 10, 0, 0, 123456)}
    plain, places = dates_as_text(given_)
    assert plain == {"when": "2026-01-31T10:00:00.123456"}
    assert text_as_dates(plain, places) == {"when": datetime(2026, 1, 31, 10, 0, 0, 123456)}
    for wrong in (Never(2026, 1, 1), time(10)):
        assert dates_as_text({"when": wrong})[1] == []
        with pytest.raises(DocumentError, match=r"metadata\.when is (Never|time)"):
            Document("a", metadata=dates_as_text({"when": wrong})[0])


def test_what_became_something_else_meanwhile_is_left_as_it_is() -> None:
    places: list[list[str | int]] = [["a"], ["b", 1], ["c", "d"], ["e"], ["f"]]
    metadata = {"a": "soon", "b": ["2026-01-31"], "c": "2026-01-31", "e": 5, "f": "2026-01-31"}
    assert text_as_dates(metadata, places) == metadata | {"f": date(2026, 1, 31)}


def test_metadata_that_holds_itself_is_still_refused_where_dates_are_looked_for() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    with pytest.raises(DocumentError, match="more than 32 levels deep"):
        Document("a", metadata=dates_as_text(loop)[0])
