"""What adding does: counts, batches, edits, and what is left after something breaks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inbedder_retrieval import (
    Document,
    DocumentError,
    Embedder,
    Embeddings,
    InbedderError,
    IndexReport,
    InputError,
    TextError,
    ViewCollection,
    Views,
)
from inbedder_retrieval.collection import index
from inbedder_retrieval.collection.edge import EdgeEngine
from inbedder_retrieval.testing import FakeEmbedder


def numbered(count: int, *, text: str = "text", start: int = 0) -> Iterator[Document]:
    return (Document(f"{text} {n}", id=n, metadata={"n": n}) for n in range(start, start + count))


def ids(collection: ViewCollection, query: str, limit: int = 1) -> list[str]:
    return [hit.id for hit in collection.search(query, view="need", limit=limit)]


def ends(done: list[int], batches: list[int]) -> bool:
    """Say whether these are ends of batches, in order, up to the last one's."""
    return done == [end for end in batches if end in done] and done[-1:] == batches[-1:]


def test_a_second_add_of_the_same_documents_writes_nothing(
    collection: ViewCollection, fake: FakeEmbedder, documents: list[Document]
) -> None:
    assert collection.add(documents) == IndexReport(added=8, empty=1)
    assert fake.texts_seen == 8
    report = collection.add(reversed(documents))
    assert (report, report.written) == (IndexReport(unchanged=8), 0)
    assert fake.texts_seen == 8
    assert collection.get(d.id for d in documents) == documents


def test_metadata_of_any_precision_is_recognised(
    collection: ViewCollection, fake: FakeEmbedder
) -> None:
    random = np.random.default_rng(0)
    metadata = {"shares": random.random(200).tolist(), "time": 1763676000.1234567}
    assert collection.add([Document("x", id=1, metadata=metadata)]).added == 1
    assert collection.add([Document("x", id=1, metadata=metadata)]) == IndexReport(unchanged=1)


def test_an_edited_text_is_embedded_and_written_anew(
    collection: ViewCollection, fake: FakeEmbedder, documents: list[Document]
) -> None:
    collection.add(documents)
    edited = Document("green table", id="d1", metadata=documents[1].metadata)
    report = collection.add([documents[0], edited])
    assert report == IndexReport(updated=1, unchanged=1)
    assert report.written == 1
    assert fake.texts_seen == 9
    assert (collection.count(), collection.get(["d1"])) == (8, [edited])
    best = collection.search("green table", view="need", limit=1)[0]
    assert best.id == "d1"
    assert best.score == pytest.approx(1, abs=1e-6)
    assert ids(collection, "the phone is late") == ["d0"]


def test_edited_metadata_is_replaced_and_vectors_are_left(
    collection: ViewCollection, fake: FakeEmbedder, documents: list[Document]
) -> None:
    collection.add(documents)
    before = collection.search("the phone", view="need")
    edited = Document(documents[0].text, id="d0", metadata={"colour": "red"})
    assert collection.add([edited]) == IndexReport(relabelled=1)
    assert collection.get(["d0"]) == [edited]
    assert fake.texts_seen == 8 + 1
    after = collection.search("the phone", view="need")
    assert [hit.id for hit in after] == [hit.id for hit in before]
    assert [hit.score for hit in after] == pytest.approx([hit.score for hit in before], abs=1e-6)
    assert collection.count({"product": "phone"}) == 1
    assert collection.count({"colour": "red"}) == 1


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (False, 0), ([1], [True]), ({"a": 0}, {"a": False}), ("1", 1)]
)
def test_a_changed_type_is_an_edit(collection: ViewCollection, old: object, new: object) -> None:
    collection.add([Document("x", id=1, metadata={"k": old})])
    report = collection.add([Document("x", id=1, metadata={"k": new})])
    assert report == IndexReport(relabelled=1)
    assert repr(collection.get([1])[0].metadata["k"]) == repr(new)


def test_of_duplicates_in_a_batch_the_last_one_counts(
    collection: ViewCollection, fake: FakeEmbedder
) -> None:
    rows = [("red", 1), ("blue", 2), ("green", "1"), ("black", 1)]
    report = collection.add(Document(text, id=name) for text, name in rows)
    assert report == IndexReport(added=2, duplicates=2)
    assert fake.texts_seen == 2
    assert [d.text for d in collection.get([1, 2])] == ["black", "blue"]


def test_of_duplicates_across_batches_the_last_one_counts(
    collection: ViewCollection, fake: FakeEmbedder
) -> None:
    done: list[int] = []
    stream = [*numbered(700), *numbered(3, text="edited", start=10), *numbered(400, start=300)]
    report = collection.add(iter(stream), progress=done.append)
    assert ends(done, [512, 1024, 1103])
    assert report.duplicates == 403
    assert (report.added, report.updated) == (700, 3)
    assert report.relabelled == 0
    assert collection.count() == 700
    assert [d.text for d in collection.get([9, 10, 12, 13])] == [
        "text 9",
        "edited 10",
        "edited 12",
        "text 13",
    ]
    assert ids(collection, "edited 11") == ["11"]


def test_long_texts_make_short_batches(collection: ViewCollection) -> None:
    done: list[int] = []
    sizes = [3_000_000, 900_000, 200_000, 5_000_000, 1]
    documents = [Document("a" * size, id=n) for n, size in enumerate(sizes)]
    assert collection.add(documents, progress=done.append).added == 5
    assert ends(done, [2, 3, 4, 5])
    assert [len(document.text) for document in collection.get(range(5))] == sizes


@pytest.mark.parametrize(
    ("share", "seconds", "told"), [(1e-12, 1e9, [512, 1200]), (1e-12, 0.0, [512, 1024, 1200])]
)
def test_what_is_told_as_stored_is_flushed_also_where_batches_share_a_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, seconds: float, told: list[int]
) -> None:
    monkeypatch.setattr(index, "FLUSH_SHARE", share)
    monkeypatch.setattr(index, "FLUSH_SECONDS", seconds)
    place = tmp_path / "c.inb"
    happened: list[object] = []
    flush = EdgeEngine.flush

    async def noted(engine: EdgeEngine) -> None:
        await flush(engine)
        happened.append("flushed")

    monkeypatch.setattr(EdgeEngine, "flush", noted)

    def flushed(counts: list[int]) -> list[object]:
        return [event for count in counts for event in ("flushed", count)]

    with ViewCollection.create(place, {"what": "What?"}, FakeEmbedder()) as collection:
        collection.add(numbered(1200), progress=happened.append)
        assert happened == flushed(told)
        happened.clear()
        broken: list[Any] = [*numbered(1100, start=1200), "no document"]
        with pytest.raises(DocumentError, match="a document is str"):
            collection.add(broken, progress=happened.append)
        # What came before an error is stored, as safely as without one.
        assert happened == flushed([512, 1024])
        copy = shutil.copytree(place, tmp_path / "copy.inb")
    with ViewCollection.open(copy, FakeEmbedder()) as opened:
        assert opened.count() == 1200 + 1024


def test_nothing_to_add_is_an_empty_report(collection: ViewCollection) -> None:
    done: list[int] = []
    assert collection.add([], progress=done.append) == IndexReport()
    assert done == []


def test_a_broken_item_leaves_the_batches_before_it(
    collection: ViewCollection, fake: FakeEmbedder
) -> None:
    done: list[int] = []
    stream: list[Any] = [*numbered(1100), {"text": "no document"}, *numbered(50, start=1100)]
    with pytest.raises(DocumentError, match="a document is dict; give Document objects"):
        collection.add(stream, progress=done.append)
    assert ends(done, [512, 1024])
    assert collection.count() == 1024
    del stream[1100]
    assert collection.add(stream) == IndexReport(added=126, unchanged=1024)
    assert fake.texts_seen == 1150


def test_a_source_that_fails_leaves_the_batches_before_it(collection: ViewCollection) -> None:
    def source() -> Iterator[Document]:
        yield from numbered(600)
        raise OSError("the disk was pulled out")

    with pytest.raises(OSError, match="pulled out"):
        collection.add(source())
    assert collection.count() == 512


@pytest.mark.parametrize("documents", ["text", Document("one"), {"id": 1}, [None]])
def test_what_is_no_list_of_documents_is_refused(
    collection: ViewCollection, documents: Any
) -> None:
    with pytest.raises(DocumentError, match="give Document objects"):
        collection.add(documents)
    assert collection.count() == 0


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["folder", "memory"])
def test_vectors_that_are_not_finite_are_never_stored(
    tmp_path: Path, views: Views, place: str, number: float
) -> None:
    class Overflowing(FakeEmbedder):
        def embed(self, *args: Any, **options: Any) -> Embeddings:
            found = super().embed(*args, **options)
            for vectors in found.values():
                vectors[1:2] = number
            return found

    location = tmp_path / "c.inb" if place == "folder" else ":memory:"
    with ViewCollection.create(location, views, Overflowing()) as collection:
        with pytest.raises(InbedderError, match=r"finite|NaN"):
            collection.add(numbered(3))
        assert collection.count() == 0


def test_long_texts_are_counted_or_refused(tiny: Embedder, views: Views) -> None:
    long = Document("how " * 60, id="long")
    with ViewCollection.create(":memory:", views, tiny) as collection:
        with pytest.raises(
            TextError, match=r"document .* is longer than .*split it, or let long texts be cut"
        ):
            collection.add([Document("how", id="short"), long], on_long="error")
        with pytest.raises(InputError, match="on_long is 'eror'; choose cut or error"):
            collection.add([long], on_long="eror")  # type: ignore[arg-type]
        assert collection.count() == 0
        report = collection.add([Document("how", id="short"), long])
        assert report == IndexReport(added=2, truncated=1)
        assert collection.get(["long"]) == [long]
