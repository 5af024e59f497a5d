from __future__ import annotations

import copy
import json
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inbedder_retrieval import DocumentError, InputError, ViewCollection, Where
from inbedder_retrieval.testing import FakeEmbedder
from langchain_core.documents import Document

from langchain_inbedder import InBedderVectorStore
from langchain_inbedder.documents import of_langchain, of_texts, to_langchain

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = (
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)  # fmt: skip
METADATA = st.dictionaries(
    TEXT,
    st.recursive(
        PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_size=4,
)
IDS = ["7", "a/b?c", "e-mail: <x@y.z>", "0b9f7f9e-3d4a-4d0b-8a86-0b6b1f8f2d11", "ключ", "x" * 500]


@settings(max_examples=50, deadline=None)
@given(text=TEXT, metadata=METADATA, name=st.none() | TEXT.filter(str.strip))
def test_a_document_comes_back_as_it_went_in(
    text: str, metadata: dict[str, Any], name: str | None
) -> None:
    original = Document(text, metadata=copy.deepcopy(metadata), id=name)
    [stored] = of_langchain([original])
    back = to_langchain(stored)
    assert (back.page_content, back.metadata) == (text, metadata)
    # As JSON 1 is neither 1.0 nor True.
    assert json.dumps(back.metadata, sort_keys=True) == json.dumps(metadata, sort_keys=True)
    assert back.id == name or (name is None and back.id)
    assert original == Document(text, metadata=metadata, id=name)


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_ids_of_any_form_and_nested_metadata_survive_the_disk(kind: str, location: Any) -> None:
    metadata = {"page": 3, "ratio": 0.1 + 0.2, "big": 2**62, "nested": {"tags": ["a", None, True]}}
    place = location(kind)
    store = InBedderVectorStore(ViewCollection.create(place, {"general": None}, FakeEmbedder()))
    documents = [Document(f"text {k}", metadata=metadata, id=name) for k, name in enumerate(IDS)]
    before = copy.deepcopy(documents)
    assert store.add_documents(documents) == IDS
    assert documents == before
    if kind == "folder":
        store.close()
        store = InBedderVectorStore.from_existing(place, FakeEmbedder())
    with store:
        assert store.get_by_ids(IDS) == before
        assert {one.id: one for one in store.similarity_search("text", k=10)} == {
            one.id: one for one in before
        }


def test_what_is_found_does_not_hang_together_with_what_was_stored(
    store: InBedderVectorStore,
) -> None:
    document = Document("foo", metadata={"tags": ["a"]}, id="1")
    store.add_documents([document])
    document.metadata["tags"].append("b")
    [found] = store.get_by_ids(["1"])
    assert found.metadata == {"tags": ["a"]}
    found.metadata["tags"].clear()
    assert store.get_by_ids(["1"])[0].metadata == {"tags": ["a"]}


def test_ids_given_go_before_those_of_the_documents() -> None:
    documents = [Document("a", id="1"), Document("b", id="2"), Document("c")]
    assert [one.id for one in of_langchain(documents, ["x", None, "z"])] == ["x", "2", "z"]


def test_a_document_without_an_id_is_named_by_what_it_holds() -> None:
    first, again, other = of_texts(["a", "a", "a"], [{"k": 1}, {"k": 1}, {"k": 2}], None)
    assert first.id == again.id != other.id


def test_lists_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="1 ids for 2 documents"):
        of_langchain([Document("a"), Document("b")], ["1"])
    with pytest.raises(InputError, match="3 metadatas for 2 texts"):
        of_texts(["a", "b"], [{}, {}, {}], None)
    with pytest.raises(InputError, match="texts is one text"):
        of_texts("abc", None, None)
    with pytest.raises(InputError, match="ids is one text"):
        of_texts(["a", "b"], None, "12")
    with pytest.raises(InputError, match="documents is one Document"):
        of_langchain(Document("a"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="document 1 is str"):
        of_langchain([Document("a"), "b"])  # type: ignore[list-item]


def test_what_json_cannot_hold_is_refused_by_name() -> None:
    with pytest.raises(DocumentError, match=r"document '7'.*metadata.when is time"):
        of_langchain([Document("a", id="7", metadata={"when": time(10, 30)})])
    with pytest.raises(DocumentError, match=r"begins 'some text'.*nan"):
        of_texts(["some text"], [{"x": float("nan")}], None)
    with pytest.raises(DocumentError, match="id is empty"):
        of_texts(["a"], None, [" "])


UTC = timezone.utc
DAYS = [1, 2, 3]


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_dates_come_back_as_they_went_in_and_are_filtered_by(kind: str, location: Any) -> None:
    documents = [
        Document(
            f"text {day}",
            metadata={
                "day": date(2026, 1, day),
                "at": datetime(2026, 1, day, 10, 30, 0, 5, tzinfo=timezone(timedelta(hours=-3))),
                "seen": [datetime(2026, 1, day), {"by": "mail", "text": "2026-01-01"}],
            },
            id=str(day),
        )
        for day in DAYS
    ]
    before = copy.deepcopy(documents)
    place = location(kind)
    store = InBedderVectorStore(ViewCollection.create(place, {"general": None}, FakeEmbedder()))
    store.add_documents(documents)
    assert documents == before
    if kind == "folder":
        store.close()
        store = InBedderVectorStore.from_existing(place, FakeEmbedder())
    with store:
        assert store.get_by_ids(["1", "2", "3"]) == before
        found = store.similarity_search("text", k=3)
        assert sorted(found, key=lambda one: str(one.id)) == before
        assert found[0].metadata["at"].utcoffset() == timedelta(hours=-3)
        filters: list[tuple[Any, list[str]]] = [
            ({"at": {"$gt": datetime(2026, 1, 2, tzinfo=UTC)}}, ["2", "3"]),
            ({"at": {"$lte": datetime(2026, 1, 1, 13, 30, 0, 5, tzinfo=UTC)}}, ["1"]),
            ({"at": datetime(2026, 1, 2, 13, 30, 0, 5, tzinfo=UTC)}, ["2"]),
            ({"day": {"$in": [date(2026, 1, 1), date(2026, 1, 3)]}}, ["1", "3"]),
            ({"$not": {"day": date(2026, 1, 1)}}, ["2", "3"]),
            ((Where.field("seen") >= date(2026, 1, 3)), ["3"]),
        ]
        for asked, wanted in filters:
            hits = store.similarity_search("text", k=3, filter=asked)
            assert sorted(str(one.id) for one in hits) == wanted, asked
        # The library has the dates as text, and nothing beside them.
        [plain] = store.collection.get(["2"])
        assert plain.metadata == {
            "day": "2026-01-02",
            "at": "2026-01-02T10:30:00.000005-03:00",
            "seen": ["2026-01-02T00:00:00", {"by": "mail", "text": "2026-01-01"}],
        }
        assert store.add_documents(documents) == ["1", "2", "3"]
        assert store.collection.add([plain]).unchanged == 1
