"""LangChain's indexing API: what is unchanged is passed over, what is stale is removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
from conftest import KINDS, QUESTIONS, Location
from inbedder_retrieval.testing import FakeEmbedder
from langchain_core.documents import Document
from langchain_core.indexing import IndexingResult, InMemoryRecordManager, aindex, index

from langchain_inbedder import InBedderVectorStore


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, location: Location) -> Iterator[InBedderVectorStore]:
    with InBedderVectorStore.from_texts(
        [], FakeEmbedder(), location=location(request.param), views=QUESTIONS
    ) as store:
        yield store


@pytest.fixture
def records() -> InMemoryRecordManager:
    manager = InMemoryRecordManager(namespace="inbedder/test")
    manager.create_schema()
    return manager


def page(source: str, text: str) -> Document:
    return Document(text, metadata={"source": source})


def counted(added: int, skipped: int, deleted: int) -> IndexingResult:
    return {
        "num_added": added,
        "num_updated": 0,
        "num_skipped": skipped,
        "num_deleted": deleted,
    }


def texts(store: InBedderVectorStore) -> set[str]:
    return {one.text for one in store.collection.scroll()[0]}


@pytest.mark.parametrize("cleanup", ["full", "incremental", "scoped_full"])
def test_a_second_run_writes_what_changed(
    cleanup: Literal["full", "incremental", "scoped_full"],
    kept: InBedderVectorStore,
    records: InMemoryRecordManager,
) -> None:
    def run(pages: list[Document]) -> IndexingResult:
        return index(
            pages, records, kept, cleanup=cleanup, source_id_key="source", key_encoder="sha256"
        )

    pages = [page("a.md", "one fish"), page("a.md", "two fish"), page("b.md", "red fish")]
    assert run(pages) == counted(3, 0, 0)
    embedder = kept.collection.embedder
    assert isinstance(embedder, FakeEmbedder)
    seen = embedder.texts_seen
    assert run(pages) == counted(0, 3, 0)
    assert embedder.texts_seen == seen
    changed = [pages[0], page("a.md", "two birds"), pages[2]]
    assert run(changed) == counted(1, 2, 1)
    assert texts(kept) == {"one fish", "two birds", "red fish"}
    assert run(changed[:2]) == counted(0, 2, 1 if cleanup == "full" else 0)
    found = kept.for_view("feeling").similarity_search("two birds", k=1)
    assert found[0].metadata == {"source": "a.md"}


async def test_the_same_in_an_event_loop(
    kept: InBedderVectorStore, records: InMemoryRecordManager
) -> None:
    async def run(pages: list[Document]) -> IndexingResult:
        return await aindex(pages, records, kept, cleanup="full", key_encoder="sha256")

    pages = [page("a.md", "one fish"), page("b.md", "red fish")]
    assert await run(pages) == counted(2, 0, 0)
    assert await run(pages[:1]) == counted(0, 1, 1)
    assert texts(kept) == {"one fish"}


def test_documents_are_written_again_where_that_is_asked(
    kept: InBedderVectorStore, records: InMemoryRecordManager
) -> None:
    pages = [page("a.md", "one fish")]
    index(pages, records, kept, cleanup=None, key_encoder="sha256")
    again = index(pages, records, kept, cleanup=None, key_encoder="sha256", force_update=True)
    assert again["num_updated"] == 1
    assert kept.collection.count() == 1
