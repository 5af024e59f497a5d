from __future__ import annotations

import json
import uuid
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import Document, DocumentError

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
    with pytest.raises(DocumentError, match="metadata"):
        Document("a", metadata=wrong)


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
