"""What others, crashes and old copies leave wrong is found, told, and mended when it is asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from inbedder_retrieval import (
    CollectionError,
    CollectionNotFound,
    Document,
    InputError,
    ModelMismatch,
    View,
    ViewCollection,
    Views,
)
from inbedder_retrieval.collection import Findings
from inbedder_retrieval.collection.engine import Engine, Point
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.schema import payload_of, point_id
from inbedder_retrieval.testing import FakeEmbedder
from tests.collection.killed import check_vectors

TONE = View("tone", "Is it polite?")
OTHERS = Point(str(UUID(int=5)), {"written by": "another tool"})


def engine_of(collection: ViewCollection) -> Engine:
    return collection._store.engine


def entry_of(collection: ViewCollection, name: str) -> tuple[str, dict[str, Any]]:
    entries = run(engine_of(collection).read_registry())
    return next((key, one) for key, one in entries.items() if one.get("name") == name)


def write(collection: ViewCollection, changes: Mapping[str, Any]) -> None:
    run(engine_of(collection).write_registry(changes))


def orphan(collection: ViewCollection) -> None:
    run(engine_of(collection).add_vectors({"others-1": 4}))


def vector_gone(collection: ViewCollection) -> None:
    _, entry = entry_of(collection, "feeling")
    run(engine_of(collection).drop_vectors([entry["vector"]]))


def other_width(collection: ViewCollection) -> None:
    _, entry = entry_of(collection, "feeling")
    run(engine_of(collection).drop_vectors([entry["vector"]]))
    run(engine_of(collection).add_vectors({"wide": 7}))
    write(collection, {"inbedder.view.feeling": entry | {"vector": "wide"}})
    write(collection, {f"inbedder.view.{entry['vector']}": None})


def some_lacking(collection: ViewCollection) -> None:
    _, entry = entry_of(collection, "need")
    points = [Point(point_id(f"d{n}"), {}) for n in range(3)]
    run(engine_of(collection).clear_vectors(points, [entry["vector"]]))


def building(collection: ViewCollection) -> None:
    store = collection._store
    run(store.change(lambda now: now.with_views(Views.of(TONE), collection.embedder)))


def rebuilding(collection: ViewCollection) -> None:
    again = Views.of(View("need", "What is needed?"))
    run(collection._store.change(lambda now: now.with_successors(again, collection.embedder)))


def dropped(collection: ViewCollection) -> None:
    run(collection._store.change(lambda now: now.without("need")))


def second_entry(collection: ViewCollection) -> None:
    """As two programs leave it that add one view at the same time."""
    _, entry = entry_of(collection, "need")
    run(engine_of(collection).add_vectors({"need-again": entry["dimension"]}))
    own = entry | {"vector": "need-again", "state": "building"}
    write(collection, {"inbedder.view.need-again": own})


def successor_of_nothing(collection: ViewCollection) -> None:
    _, entry = entry_of(collection, "need")
    run(engine_of(collection).add_vectors({"gone-1": entry["dimension"]}))
    own = {"name": "gone", "vector": "gone-1", "state": "building", "replaces": "gone-0"}
    write(collection, {"inbedder.view.gone-1": entry | own})


def edited(collection: ViewCollection) -> None:
    payload = payload_of(Document("the phone is broken", id="d0")) | {"text": "it works again"}
    run(engine_of(collection).overwrite_payload([Point(point_id("d0"), payload)]))


def misplaced(collection: ViewCollection) -> None:
    payload = payload_of(Document("came with another id", id="copied"))
    run(engine_of(collection).upsert([Point(str(UUID(int=9)), payload)]))


def misplaced_and_taken(collection: ViewCollection) -> None:
    payload = payload_of(Document("an older text", id="d0"))
    run(engine_of(collection).upsert([Point(str(UUID(int=9)), payload)]))


def begun_by_another_model(collection: ViewCollection, documents: list[Document]) -> FakeEmbedder:
    """Add documents, and have another model begin to rebuild all views; return it."""
    collection.add(documents)
    other, again = FakeEmbedder(seed=1), collection.views
    run(collection._store.change(lambda now: now.with_successors(again, other)))
    return other


def foreign(collection: ViewCollection) -> None:
    broken = Point(str(UUID(int=6)), {"id": "d9", "text": 3, "metadata": None})
    run(engine_of(collection).upsert([OTHERS, broken]))


# What is done to a collection, what is found then, and what is left once it is mended.
WRONG: list[tuple[Callable[[ViewCollection], None], dict[str, Any], dict[str, Any]]] = [
    (orphan, {"orphans": ["others-1"]}, {"orphans": ["others-1"]}),
    (vector_gone, {"missing": ["feeling"]}, {}),
    (other_width, {"missing": ["feeling"], "strays": 2}, {}),
    (some_lacking, {"lacking": {"need": 3}}, {}),
    (building, {"unfinished": ["tone"]}, {}),
    (rebuilding, {"unfinished": ["need"]}, {}),
    (dropped, {"dropped": 1}, {}),
    (second_entry, {"unfinished": ["need"], "strays": 1, "orphans": 1}, {"orphans": 1}),
    (successor_of_nothing, {"dropped": ["gone-1"]}, {}),
    (edited, {"edited": ["d0"]}, {}),
    (misplaced, {"misplaced": [str(UUID(int=9))], "lacking": 3}, {}),
    (
        misplaced_and_taken,
        {"misplaced": [str(UUID(int=9))], "lacking": 3},
        {"misplaced": [str(UUID(int=9))]},
    ),
    (
        foreign,
        {"foreign": [str(UUID(int=5)), str(UUID(int=6))]},
        {"foreign": [str(UUID(int=5)), str(UUID(int=6))]},
    ),
]


def shown(findings: Findings) -> dict[str, Any]:
    found = findings.model_dump(exclude_defaults=True)
    found.pop("documents")
    return found


def assert_found(findings: Findings, wanted: dict[str, Any]) -> None:
    """Lists that depend on made-up names are counted."""
    assert {
        name: len(one) if isinstance(wanted.get(name), int) else one
        for name, one in shown(findings).items()
    } == wanted


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[0].__name__)
def test_what_is_wrong_is_found_and_mended_and_no_document_is_lost(
    collection: ViewCollection, documents: list[Document], fake: FakeEmbedder, case: Any
) -> None:
    break_it, wanted, left = case
    collection.add(documents)
    assert collection.check() == Findings(documents=len(documents))
    assert collection.check().clean
    break_it(collection)
    before = run(engine_of(collection).read_registry())
    found = collection.check()
    assert_found(found, wanted)
    # Nothing was done yet.
    assert run(engine_of(collection).read_registry()) == before
    assert collection.check() == found
    after = collection.repair(found)
    assert_found(after, left)
    names = [one.id for one in documents]
    now = {one.id: one for one in collection.get(names)}
    assert set(now) == set(names)
    assert sum(now[one.id] != one for one in documents) == (break_it is edited)
    assert collection.repair(after, delete=True).clean
    check_vectors(collection, fake)
    store = collection._store
    entries = run(engine_of(collection).read_registry())
    kept = {key: value for key, value in entries.items() if value is not None}
    assert kept == run(store.refresh()).entries()
    vectors = {record.vector: record.dimension for record in store.registry.written}
    assert run(engine_of(collection).vectors()) == vectors
    assert len(collection.get(names)) == len(names)
    for name in collection.views.names:
        assert len(collection.search("the phone", view=name, limit=100)) == collection.count()


def test_a_moved_point_keeps_its_document(collection: ViewCollection) -> None:
    misplaced(collection)
    assert collection.get(["copied"]) == []
    assert collection.repair(collection.check()).clean
    assert collection.get(["copied"]) == [Document("came with another id", id="copied")]
    assert collection.count() == 1


def test_everything_at_once_is_mended(
    collection: ViewCollection, documents: list[Document], fake: FakeEmbedder
) -> None:
    collection.add(documents)
    for break_it in (orphan, some_lacking, vector_gone, building, edited, misplaced, foreign):
        break_it(collection)
    assert shown(collection.repair(collection.check())).keys() == {"orphans", "foreign"}
    assert collection.repair(collection.check(), delete=True).clean
    check_vectors(collection, fake)


def test_views_are_added_beside_points_of_others(
    collection: ViewCollection, documents: list[Document]
) -> None:
    collection.add(documents)
    foreign(collection)
    assert collection.add_view(TONE) == len(documents)
    assert len(collection.search("the phone", view="tone", limit=100)) == len(documents)


def test_what_another_model_builds_is_left_to_it(
    collection: ViewCollection, documents: list[Document]
) -> None:
    other = begun_by_another_model(collection, documents)
    found = collection.check()
    assert found.unfinished == collection.views.names
    with pytest.raises(ModelMismatch, match="is not the model here"):
        collection.repair(found)
    with pytest.raises(ModelMismatch, match="being rebuilt with fake; finish that first"):
        collection.add_view(TONE)
    assert len(collection.search("the phone", view="need", limit=100)) == len(documents)
    assert collection.rebuild_view(embedder=other) == len(documents)
    assert collection.check().clean


def test_views_of_two_models_are_not_built_side_by_side(
    collection: ViewCollection, documents: list[Document]
) -> None:
    begun_by_another_model(collection, documents)
    with pytest.raises(ModelMismatch, match="is being rebuilt with another model"):
        collection.rebuild_view({"need": "What is wanted?"})
    # All at once give the other model's up.
    assert collection.rebuild_view() == len(documents)
    assert collection.check().clean


def test_points_of_others_are_passed_over_and_not_copied(
    collection: ViewCollection, documents: list[Document], tmp_path: Path
) -> None:
    collection.add(documents)
    foreign(collection)
    found, after = collection.scroll(limit=1000)
    assert (len(found), after) == (len(documents), None)
    with pytest.raises(CollectionError, match="points that are no documents, such as"):
        collection.copy(tmp_path / "copy.inb")


def test_findings_are_what_check_returned(collection: ViewCollection) -> None:
    wrong: Any = {"orphans": ["a"]}
    with pytest.raises(InputError, match=r"give what check\(\) returns"):
        collection.repair(wrong)


def test_a_collection_with_faults_is_opened_and_says_them_again(
    tmp_path: Path, documents: list[Document], fake: FakeEmbedder, views: Views
) -> None:
    with ViewCollection.create(tmp_path / "c.inb", views, fake) as collection:
        collection.add(documents)
        vector_gone(collection)
        foreign(collection)
        found = collection.check()
    with ViewCollection.open(tmp_path / "c.inb", fake) as collection:
        assert collection.check() == found
        assert collection.repair(found, delete=True).clean


def test_a_lost_registry_is_told_from_an_empty_folder(
    tmp_path: Path, documents: list[Document], fake: FakeEmbedder, views: Views
) -> None:
    with ViewCollection.create(tmp_path / "c.inb", views, fake) as collection:
        collection.add(documents)
        vector = collection.info().views[1].vector
    kept = (tmp_path / "c.inb" / "registry.json").read_text()
    (tmp_path / "c.inb" / "registry.json").unlink()
    with pytest.raises(CollectionNotFound, match=rf"its registry\.json is gone.*{vector}.*copy"):
        ViewCollection.open(tmp_path / "c.inb", fake)
    (tmp_path / "c.inb" / "registry.json").write_text(kept)
    with ViewCollection.open(tmp_path / "c.inb", fake) as collection:
        assert collection.check().clean


def test_a_registry_of_an_older_day_is_told_from_the_vectors(
    tmp_path: Path, documents: list[Document], fake: FakeEmbedder, views: Views
) -> None:
    with ViewCollection.create(tmp_path / "c.inb", views, fake) as collection:
        collection.add(documents)
        old = (tmp_path / "c.inb" / "registry.json").read_text()
        collection.add_view(TONE)
        collection.drop_view("need")
    (tmp_path / "c.inb" / "registry.json").write_text(old)
    assert json.loads(old)
    with ViewCollection.open(tmp_path / "c.inb", fake) as collection:
        found = collection.check()
        assert found.missing == ["need"]
        assert len(found.orphans) == 1
        assert collection.repair(found, delete=True).clean
        check_vectors(collection, fake)
        assert np.isclose(collection.search(documents[0].text, view="need")[0].score, 1)


def test_an_event_loop_mends_as_well(
    collection: ViewCollection, documents: list[Document], fake: FakeEmbedder
) -> None:
    async def mend() -> Findings:
        await collection.aadd(documents)
        found = await collection.acheck()
        assert found.clean
        vector_gone(collection)
        return await collection.arepair(await collection.acheck())

    assert asyncio.run(mend()).clean
    check_vectors(collection, fake)
