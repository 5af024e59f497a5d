from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike

from inbedder_retrieval import (
    AnswerWord,
    Document,
    Embeddings,
    UnknownView,
    View,
    ViewCollection,
    ViewError,
    ViewNotReady,
    Views,
)
from inbedder_retrieval.collection.engine import Point
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.schema import payload_of, point_id
from inbedder_retrieval.testing import FakeEmbedder
from inbedder_retrieval.views import ViewsLike

TONE = View("tone", "Is it polite?")
PLACE = View("place", "Where is it?")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.backfill.BATCH_DOCUMENTS", 3)


def scores(collection: ViewCollection, view: str, query: str = "the phone") -> dict[str, float]:
    hits = collection.search(query, view=view, limit=100)
    return {hit.id: hit.score for hit in hits}


def wanted(
    fake: FakeEmbedder, documents: Iterable[Document], view: View, query: str = "the phone"
) -> dict[str, float]:
    """Cosines by hand."""
    documents = list(documents)
    vectors = fake.embed([document.text for document in documents], view)[view.name]
    [asked] = fake.embed([query], view)[view.name]
    return {d.id: float(row @ asked) for d, row in zip(documents, vectors, strict=True)}


class Meddling(FakeEmbedder):
    """Does something once, when it is asked to embed more than one text."""

    def __init__(self) -> None:
        super().__init__()
        self.meddle: Callable[[], None] = lambda: None

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        texts = list(texts)
        if len(texts) > 1:
            todo, self.meddle = self.meddle, lambda: None
            todo()
        return super().embed(texts, views)

    def explain(self, vectors: ArrayLike, *, top: int = 5) -> list[list[AnswerWord]]:
        return super().explain(vectors, top=top)


def test_added_views_hold_what_they_would_have_from_the_start(
    collection: ViewCollection, documents: list[Document], fake: FakeEmbedder
) -> None:
    collection.add(documents)
    seen: list[tuple[int, int]] = []
    filled = collection.add_view([TONE, PLACE], progress=lambda *done: seen.append(done))
    assert filled == len(documents)
    assert seen == [(3, 8), (6, 8), (8, 8)]
    assert collection.views.names[-2:] == ["tone", "place"]
    for view in (TONE, PLACE):
        assert scores(collection, view.name) == pytest.approx(
            wanted(fake, documents, view), abs=1e-5
        )
    assert collection.add_view([TONE, PLACE]) == 0


def test_other_views_and_documents_are_left_as_they_were(
    collection: ViewCollection, documents: list[Document]
) -> None:
    collection.add(documents)
    before = scores(collection, "feeling"), collection.get([d.id for d in documents])
    collection.add_view(TONE)
    after = scores(collection, "feeling"), collection.get([d.id for d in documents])
    assert after[1] == before[1]
    assert after[0] == pytest.approx(before[0], abs=1e-6)


def test_a_view_added_to_an_empty_collection_is_ready_at_once(
    collection: ViewCollection, documents: list[Document]
) -> None:
    assert collection.add_view(TONE) == 0
    collection.add(documents)
    assert len(scores(collection, "tone")) == len(documents)


def test_what_was_interrupted_is_searched_only_when_asked_and_finished_by_the_same_call(
    tmp_path: Path, documents: list[Document], fake: FakeEmbedder, views: Views
) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with ViewCollection.create(tmp_path / "c.inb", views, fake) as collection:
        collection.add(documents)
        with pytest.raises(KeyboardInterrupt):
            collection.add_view(TONE, progress=stop)
    with ViewCollection.open(tmp_path / "c.inb", fake) as collection:
        [record] = [r for r in collection.info().views if r.name == "tone"]
        assert record.state == "building"
        with pytest.raises(ViewNotReady, match="'tone' is being built"):
            collection.search("the phone", view="tone")
        partial = collection.search("the phone", view="tone", allow_partial=True)
        assert len(partial) == 3
        assert len(scores(collection, "feeling")) == len(documents)
        late = Document("a late lamp", id="late")
        collection.add([late])
        assert collection.add_view(TONE) == len(documents) - 3
        assert scores(collection, "tone") == pytest.approx(
            wanted(fake, [*documents, late], TONE), abs=1e-5
        )


def test_a_text_that_is_edited_meanwhile_keeps_the_vector_of_its_new_text(
    documents: list[Document], views: Views
) -> None:
    """By somebody who knows the view, and by somebody who does not."""
    fake = Meddling()
    with ViewCollection.create(":memory:", views, fake) as collection:
        collection.add(documents)
        ids = sorted(point_id(document.id) for document in documents)
        first, second = sorted(documents, key=lambda d: ids.index(point_id(d.id)))[:2]
        known = Document("where is my refund, please", id=first.id)
        unknown = Document("a table of glass", id=second.id)
        old = {
            record.vector: fake.embed([unknown.text], record.view)[record.name][0]
            for record in collection.info().views
        }

        def edit() -> None:
            collection.add([known])
            point = Point(point_id(unknown.id), payload_of(unknown), old)
            run(collection._store.engine.upsert([point]))

        fake.meddle = edit
        collection.add_view(TONE)
        edited = {first.id: known, second.id: unknown}
        now = [edited.get(document.id, document) for document in documents]
        assert scores(collection, "tone") == pytest.approx(wanted(fake, now, TONE), abs=1e-5)


def test_a_dropped_view_is_gone_and_comes_back_with_the_texts_of_today(
    collection: ViewCollection, documents: list[Document], fake: FakeEmbedder
) -> None:
    collection.add(documents)
    collection.add_view(TONE)
    collection.drop_view("tone")
    with pytest.raises(UnknownView, match="no view 'tone'"):
        collection.search("the phone", view="tone")
    edited = [Document(document.text + " today", id=document.id) for document in documents]
    collection.add(edited)
    assert collection.add_view(TONE) == len(documents)
    assert scores(collection, "tone") == pytest.approx(wanted(fake, edited, TONE), abs=1e-5)


def test_a_dropped_view_stays_gone_when_the_folder_is_opened_again(
    tmp_path: Path, documents: list[Document], fake: FakeEmbedder, views: Views
) -> None:
    with ViewCollection.create(tmp_path / "c.inb", views, fake) as collection:
        collection.add(documents)
        collection.drop_view("feeling")
    with ViewCollection.open(tmp_path / "c.inb", fake) as collection:
        assert collection.views.names == ["general", "need"]
        assert len(scores(collection, "need")) == len(documents)


def test_what_a_crash_left_of_a_drop_is_not_taken_for_a_views_vectors(
    collection: ViewCollection, documents: list[Document], fake: FakeEmbedder
) -> None:
    collection.add(documents)
    collection.add_view(TONE)
    # The registry is written first; then the process dies.
    store = collection._store
    run(store.change(lambda registry: registry.without("tone")))
    edited = [Document("x " + document.text, id=document.id) for document in documents[:4]]
    collection.add(edited)
    assert collection.add_view(TONE) == len(documents)
    now = edited + documents[4:]
    assert scores(collection, "tone") == pytest.approx(wanted(fake, now, TONE), abs=1e-5)


def test_the_only_view_is_not_dropped(fake: FakeEmbedder) -> None:
    with ViewCollection.create(":memory:", TONE, fake) as collection:
        with pytest.raises(ViewError, match="is the only one here"):
            collection.drop_view("tone")
        with pytest.raises(UnknownView, match="no view 'place'"):
            collection.drop_view("place")


def test_a_view_that_asks_something_else_is_refused_and_nothing_is_added(
    collection: ViewCollection, documents: list[Document]
) -> None:
    collection.add(documents)
    names = collection.views.names
    with pytest.raises(ViewError, match=r"'feeling' of .* asks"):
        collection.add_view([TONE, View("feeling", "How?")])
    assert collection.views.names == names


def test_vectors_that_are_no_numbers_are_not_written(
    documents: list[Document], views: Views
) -> None:
    class Broken(FakeEmbedder):
        def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
            found = super().embed(texts, views)
            for name in found:
                if name == "tone":
                    found[name] = np.full_like(found[name], np.nan)
            return found

    with ViewCollection.create(":memory:", views, Broken()) as collection:
        collection.add(documents)
        with pytest.raises(Exception, match="not finite numbers"):
            collection.add_view(TONE)
        with pytest.raises(ViewNotReady):
            collection.search("the phone", view="tone")
