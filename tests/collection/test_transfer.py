"""Copies: what was there is there, whatever the engines, and whatever came in between."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from inbedder_retrieval import (
    CollectionError,
    CollectionExists,
    CollectionNotFound,
    Connection,
    Document,
    DocumentError,
    Embeddings,
    EngineError,
    InputError,
    ModelMismatch,
    Storage,
    View,
    ViewCollection,
    Views,
)
from inbedder_retrieval.collection.copies import (
    copy_archive,
    copy_collection,
    copy_store,
    save_store,
)
from inbedder_retrieval.collection.flow import run
from inbedder_retrieval.collection.origin import CopyReport
from inbedder_retrieval.collection.schema import point_id
from inbedder_retrieval.testing import FakeEmbedder
from inbedder_retrieval.views import ViewsLike
from tests.collection.copied import (
    MANY,
    VIEWS,
    Stopped,
    a_collection,
    check_holds,
    killed_copy,
    stop_at,
)
from tests.collection.locations import KINDS, a_location
from tests.collection.qdrant_server import QdrantServer

TONE = View("tone", "Is it polite?")


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.origin.FIRST_PAGE", 8)
    monkeypatch.setattr("inbedder_retrieval.collection.origin.LARGEST_PAGE", 8)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[[str, str], str | Path]]:
    """What gives a free place of a kind."""
    with ExitStack() as stack:

        def free(kind: str, name: str) -> str | Path:
            (tmp_path / name).mkdir()
            return stack.enter_context(a_location(kind, tmp_path / name))

        yield free


def copied(
    collection: ViewCollection, target: str | Path, **options: Any
) -> tuple[ViewCollection, CopyReport]:
    store, report = run(copy_store(collection._store, target, **options))
    return ViewCollection(store), report


def hits(collection: ViewCollection, **asked: Any) -> list[tuple[str, float]]:
    found = collection.search("text 7 of a red lamp", limit=12, **asked)
    return [(hit.id, hit.score) for hit in found]


def assert_same_hits(first: ViewCollection, second: ViewCollection) -> None:
    asked: list[dict[str, Any]] = [
        {"view": "need"},
        {"views": {"general": 0.5, "größe": 0.5}},
        {"view": "general", "filter": {"n": {"lt": 40}, "who": "a"}},
    ]
    for one in asked:
        before, after = hits(first, **one), hits(second, **one)
        assert dict(after) == pytest.approx(dict(before), abs=1e-6)


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_a_copy_holds_what_the_source_holds_and_nothing_is_embedded(
    place: Callable[[str, str], str | Path], source: str, target: str
) -> None:
    fake = FakeEmbedder()
    with a_collection(place(source, "a"), fake=fake) as first:
        hits(first, view="need", filter={"n": {"lt": 40}, "who": "a"})
        records, seen = run(first._store.refresh()).records, fake.texts_seen
        steps: list[tuple[int, int]] = []
        second, report = copied(first, place(target, "b"), progress=lambda *at: steps.append(at))
        assert fake.texts_seen == seen
        assert (report.documents, report.written, report.present) == (90, 90, 0)
        assert report.views == VIEWS.names
        assert steps[-1] == (90, 90)
        with second:
            check_holds(second, MANY)
            assert run(second._store.refresh()).records == records
            kept = run(first._store.engine.indexed_fields())
            if source in ("folder", "rest", "server") and target != "memory":
                assert set(kept) == {"metadata.n", "metadata.who"}
                assert run(second._store.engine.indexed_fields()) == kept
            assert_same_hits(first, second)
            # It is a collection of its own now.
            second.add([Document("a new lamp", id="new")])
            second.add_view(TONE)
            assert (first.count(), second.count()) == (90, 91)


@pytest.mark.parametrize(
    "way",
    [
        ("folder", "rest", "folder"),
        ("folder", "archive", "rest", "archive", "folder"),
        ("rest", "archive", "archive", "folder", "rest"),
    ],
)
def test_copies_of_copies_between_locations_are_equal_to_the_first(
    tmp_path: Path, qdrant_server: QdrantServer, way: tuple[str, ...]
) -> None:
    names = {"folder": "{}/{}.inb", "archive": "{}/{}.parquet", "rest": "{}/c{}"}
    roots = {"folder": tmp_path, "archive": tmp_path, "rest": qdrant_server.url}
    places = [names[kind].format(roots[kind], step) for step, kind in enumerate(way)]
    with a_collection(places[0]) as first:
        hits(first, view="need", filter={"n": {"lt": 40}})
        created = run(first._store.refresh()).created
    for source, target in pairwise(places):
        assert copy_collection(source, target).written == 90
    with ViewCollection.open(places[-1], FakeEmbedder()) as last:
        check_holds(last, MANY)
        assert last.info().indexed_fields == ["n"]
        assert run(last._store.refresh()).created == created


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)
METADATA = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=3)


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(METADATA, max_size=4))
def test_metadata_is_copied_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("copies")
    documents = [Document(f"lamp {n}", id=n, metadata=row) for n, row in enumerate(rows)]
    with a_collection(":memory:", documents) as first:
        second, _ = copied(first, folder / "b.inb")
        with second:
            check_holds(second, documents)
            run(save_store(second._store, folder / "c.parquet"))
    store, _ = run(copy_archive(folder / "c.parquet", ":memory:"))
    with ViewCollection(store) as third:
        check_holds(third, documents)
    shutil.rmtree(folder)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("kind", ["folder", "rest"])
def test_a_half_copied_collection_says_so_and_the_same_call_finishes_it(
    tmp_path: Path, place: Callable[[str, str], str | Path], kind: str
) -> None:
    source, target = tmp_path / "a.inb", place(kind, "b")
    a_collection(source).close()
    with pytest.raises(Stopped):
        copy_collection(source, target, progress=stop_at(40))
    said = r"is a copy of .*a\.inb that was not finished; .*inbedder copy .*a\.inb .*, or delete it"
    with pytest.raises(CollectionError, match=said):
        ViewCollection.open(target, FakeEmbedder())
    with pytest.raises(CollectionError, match=said):
        copy_collection(target, tmp_path / "c.inb")
    report = copy_collection(source, target)
    assert (report.documents, report.written, report.present) == (90, 50, 40)
    with ViewCollection.open(target, FakeEmbedder()) as found:
        check_holds(found, MANY)


@pytest.mark.parametrize("kinds", ["folder folder", "folder rest", "rest folder", "archive rest"])
def test_a_killed_copy_is_finished_by_the_same_call(
    tmp_path: Path, place: Callable[[str, str], str | Path], kinds: str
) -> None:
    pick = random.Random(3)
    kind, target_kind = kinds.split()
    origin = place("folder" if kind == "archive" else kind, "a")
    with a_collection(origin) as collection:
        source = tmp_path / "a.parquet" if kind == "archive" else origin
        if kind == "archive":
            run(save_store(collection._store, source))
    target = place(target_kind, "b")
    stops = sorted(pick.sample(range(8, 88), 3)) if kind != "archive" else [90]
    for stop in stops:
        seen = killed_copy(source, target, stop)
        assert seen[-1] >= stop
        with pytest.raises(CollectionError, match="not finished"):
            ViewCollection.open(target, FakeEmbedder())
    report = copy_collection(source, target)
    assert report.written + report.present == report.documents == 90
    # All that was told to be done was there.
    assert report.present >= seen[-1] - 8 * (target_kind == "folder")
    with ViewCollection.open(target, FakeEmbedder()) as found:
        check_holds(found, MANY)
    if target_kind == "folder":
        names = {path.name for path in Path(target).iterdir()}
        assert names == {".lock", "registry.json", "shard"}


@pytest.mark.usefixtures("small_pages")
def test_what_changed_since_an_interrupted_copy_is_followed(tmp_path: Path) -> None:
    source, target = tmp_path / "a.inb", tmp_path / "b.inb"
    a_collection(source).close()
    with pytest.raises(Stopped):
        copy_collection(source, target, progress=stop_at(48))
    now = [document for document in MANY if document.id not in ("d3", "d50", "d77")]
    now[5] = Document("an edited text", id=now[5].id, metadata=now[5].metadata)
    now[6] = Document(now[6].text, id=now[6].id, metadata={"other": 1})
    now += [Document(f"text {n} of a new chair", id=f"new{n}") for n in range(20)]
    with ViewCollection.open(source, FakeEmbedder()) as collection:
        collection.delete(["d3", "d50", "d77"])
        collection.add(now)
    report = copy_collection(source, target)
    assert (report.documents, report.written + report.present) == (107, 107)
    with ViewCollection.open(target, FakeEmbedder()) as found:
        check_holds(found, now)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("kind", ["folder", "rest"])
def test_a_copy_begins_anew_when_views_came_or_went(
    tmp_path: Path, place: Callable[[str, str], str | Path], kind: str
) -> None:
    source, target = tmp_path / "a.inb", place(kind, "b")
    a_collection(source).close()
    with pytest.raises(Stopped):
        copy_collection(source, target, progress=stop_at(48))
    with ViewCollection.open(source, FakeEmbedder()) as collection:
        collection.add_view(TONE)
        collection.drop_view("need")
    for _ in range(2):
        with pytest.raises(Stopped):
            copy_collection(source, target, progress=stop_at(48))
    report = copy_collection(source, target)
    assert (report.written, report.present) == (42, 48)
    with ViewCollection.open(target, FakeEmbedder()) as found:
        check_holds(found, MANY, Views([VIEWS["general"], VIEWS["größe"], TONE]))
        vectors = {record.vector for record in found.info().views}
        assert set(run(found._store.engine.vectors())) == vectors


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("kind", ["memory", "rest", "folder"])
def test_documents_that_others_write_meanwhile_are_copied_too(
    tmp_path: Path, place: Callable[[str, str], str | Path], kind: str
) -> None:
    with a_collection(place(kind, "a")) as first:
        late = [Document(f"text {n} of a late chair", id=f"late{n}") for n in range(30)]

        def meddle(done: int, _: int) -> None:
            if done == 48:
                first.add(late)
                first.delete(["d1", "d2", "d3"])

        second, report = copied(first, tmp_path / "b.inb", progress=meddle)
        with second:
            check_holds(second, [*MANY[:1], *MANY[4:], *late])
        assert report.documents == 117


@pytest.mark.usefixtures("small_pages")
def test_a_document_that_gave_way_to_another_meanwhile_is_not_kept(tmp_path: Path) -> None:
    """There are as many as before; they are others."""
    with a_collection(":memory:") as first:
        order = [document.id for document in first.scroll(limit=1000)[0]]
        late = sorted((f"late{n}" for n in range(100)), key=point_id)[0]

        def meddle(done: int, _: int) -> None:
            if done == 48:
                first.add([Document("a late chair", id=late)])
                first.delete(order[:1])

        second, _ = copied(first, tmp_path / "b.inb", progress=meddle)
        with second:
            left = [document for document in MANY if document.id != order[0]]
            check_holds(second, [*left, Document("a late chair", id=late)])


@pytest.mark.usefixtures("small_pages")
def test_a_source_that_never_rests_is_an_error_and_the_same_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_collection(":memory:") as first:
        engine, count = first._store.engine, first._store.engine.count
        numbers = iter(range(1000))

        async def count_and_write(*given: Any, **named: Any) -> int:
            first.add([Document("and one more", id=f"more{next(numbers)}")])
            return await count(*given, **named)

        with monkeypatch.context() as patch:
            patch.setattr(engine, "count", count_and_write)
            with pytest.raises(EngineError, match=r"holds 94 documents and the copy at .* 93: oth"):
                copied(first, tmp_path / "b.inb")
        second, report = copied(first, tmp_path / "b.inb")
        second.close()
        assert (report.documents, report.written, report.present) == (94, 0, 94)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_a_view_that_is_dropped_meanwhile_makes_the_copy_begin_anew(
    tmp_path: Path, place: Callable[[str, str], str | Path], kind: str
) -> None:
    with a_collection(place(kind, "a")) as first:

        def meddle(done: int, _: int) -> None:
            if done == 48:
                first.drop_view("need")

        with pytest.raises(CollectionError, match=r"dropped or rebuilt|need-"):
            copied(first, tmp_path / "b.inb", progress=meddle)
        second, report = copied(first, tmp_path / "b.inb")
        with second:
            check_holds(second, MANY, Views([VIEWS["general"], VIEWS["größe"]]))
        assert (report.written, report.present) == (90, 0)


class Tiring(FakeEmbedder):
    """Gives up once it has embedded so many texts."""

    left = 1000

    def embed(self, texts: Iterable[str], views: ViewsLike) -> Embeddings:
        texts = list(texts)
        self.left -= len(texts)
        if self.left < 0:
            raise Stopped
        return super().embed(texts, views)


def test_a_view_that_is_being_built_is_copied_as_far_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.backfill.BATCH_DOCUMENTS", 10)
    fake = Tiring()
    with a_collection(":memory:", fake=fake) as first:
        fake.left = 45
        with pytest.raises(Stopped):
            first.add_view(TONE)
        fake.left = 1000
        second, report = copied(first, tmp_path / "b.inb")
        assert (report.building, report.left_out) == (["tone"], [])
        with second:
            assert second.info().views[-1].state == "building"
            # 40 documents have it already.
            assert second.add_view(TONE) == 50
            check_holds(second, MANY, Views([*VIEWS, TONE]))


def test_what_is_being_built_in_a_views_place_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.backfill.BATCH_DOCUMENTS", 10)
    fake = Tiring()
    with a_collection(":memory:", fake=fake) as first:
        fake.left = 45
        with pytest.raises(Stopped):
            first.rebuild_view({"need": "What is it for?"})
        second, report = copied(first, tmp_path / "b.inb")
        assert report.left_out == ["need"]
        with second:
            check_holds(second, MANY)
            info = second.info()
            assert info.rebuilding == []
            assert set(run(second._store.engine.vectors())) == {one.vector for one in info.views}


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("kind", ["folder", "rest"])
def test_a_taken_target_is_refused_and_left_as_it_is(
    tmp_path: Path, place: Callable[[str, str], str | Path], kind: str
) -> None:
    source, target = tmp_path / "a.inb", place(kind, "b")
    a_collection(source).close()
    other = [Document("mine", id="mine")]
    a_collection(target, other).close()
    with pytest.raises(CollectionExists, match="already holds a collection; give a place that is"):
        copy_collection(source, target)
    with ViewCollection.open(target, FakeEmbedder()) as found:
        check_holds(found, other)
    half = place(kind, "half")
    with pytest.raises(Stopped):
        copy_collection(source, half, progress=stop_at(8))
    a_collection(tmp_path / "other.inb").close()
    with pytest.raises(CollectionExists, match=r"holds an unfinished copy of .*a\.inb; give"):
        copy_collection(tmp_path / "other.inb", half)
    copy_collection(source, half)
    # A whole copy is a collection like any other.
    with pytest.raises(CollectionExists, match="already holds a collection"):
        copy_collection(source, half)


def test_what_is_no_collection_is_not_copied_over(
    tmp_path: Path, qdrant_server: QdrantServer
) -> None:
    source, file, photos = tmp_path / "a.inb", tmp_path / "notes.txt", tmp_path / "photos"
    a_collection(source).close()
    file.write_text("mine")
    (photos / "2024").mkdir(parents=True)
    client = QdrantClient(url=qdrant_server.url, check_compatibility=False)
    client.create_collection("c", models.VectorParams(size=3, distance=models.Distance.DOT))
    for target in (file, photos, f"{qdrant_server.url}/c"):
        with pytest.raises(CollectionExists):
            copy_collection(source, target)
    assert file.read_text() == "mine"
    assert [path.name for path in photos.iterdir()] == ["2024"]
    assert client.get_collection("c").config.metadata is None
    client.close()


def test_one_place_is_not_copied_to_itself(tmp_path: Path, qdrant_server: QdrantServer) -> None:
    source, address = tmp_path / "a.inb", f"{qdrant_server.url}/c"
    a_collection(source).close()
    a_collection(address).close()
    (tmp_path / "link").symlink_to(source)
    pairs: list[tuple[str | Path, str | Path]] = [
        (source, f"{tmp_path}/./a.inb"),
        (source, tmp_path / "link"),
        (address, f"{address}/"),
    ]
    for one, other in pairs:
        with pytest.raises(InputError, match="are one place"):
            copy_collection(one, other)
    pairs = [(":memory:", source), (source, ":memory:")]
    for one, other in pairs:
        with pytest.raises(InputError, match="belongs to the object that created it"):
            copy_collection(one, other)
    with pytest.raises(CollectionNotFound, match="there is no collection at"):
        copy_collection(tmp_path / "missing.inb", tmp_path / "b.inb")
    assert not (tmp_path / "b.inb").exists()


TENANTS = Storage(tenant="who", shard_per_tenant=True, shard_number=1, quantization="scalar")


def test_storage_goes_along_and_may_be_given_anew(
    tmp_path: Path, qdrant_server: QdrantServer
) -> None:
    first, second = f"{qdrant_server.url}/first", f"{qdrant_server.url}/second"
    with ViewCollection.create(first, VIEWS, FakeEmbedder(), storage=TENANTS) as collection:
        collection.add(MANY)
    copy_collection(first, second)
    client = QdrantClient(url=qdrant_server.url, check_compatibility=False)
    for tenant in "ab":
        assert client.count("second", shard_key_selector=tenant).count == 45
    schema = client.get_collection("second").payload_schema["metadata.who"]
    assert schema.params is not None
    assert schema.params.model_dump()["is_tenant"] is True
    client.close()
    # A folder has no shards; all else stays.
    copy_collection(second, tmp_path / "a.inb")
    copy_collection(first, tmp_path / "b.inb", storage=Storage(on_disk=True))
    kept: dict[str | Path, Storage] = {
        tmp_path / "a.inb": Storage(tenant="who", quantization="scalar"),
        tmp_path / "b.inb": Storage(tenant="who", on_disk=True),
        second: TENANTS,
    }
    for place, storage in kept.items():
        with ViewCollection.open(place, FakeEmbedder()) as found:
            check_holds(found, MANY)
            assert found.info().storage == storage
            assert found.info().indexed_fields == ["who"]
    with pytest.raises(InputError, match="shard_number is for a Qdrant server"):
        copy_collection(first, tmp_path / "c.inb", storage=Storage(shard_number=2))
    assert not (tmp_path / "c.inb").exists()


@pytest.mark.usefixtures("small_pages")
def test_an_unfinished_copy_keeps_the_storage_it_was_begun_with(tmp_path: Path) -> None:
    source, target = tmp_path / "a.inb", tmp_path / "b.inb"
    a_collection(source).close()
    asked = Storage(quantization="binary")
    with pytest.raises(Stopped):
        copy_collection(source, target, storage=asked, progress=stop_at(8))
    with pytest.raises(InputError, match="was begun with other storage"):
        copy_collection(source, target, storage=Storage(on_disk=True))
    copy_collection(source, target)
    with ViewCollection.open(target, FakeEmbedder()) as found:
        assert found.info().storage == asked
        check_holds(found, MANY)


def test_a_document_without_the_tenant_that_is_given_is_named(tmp_path: Path) -> None:
    with (
        a_collection(":memory:", [Document("a lamp", id="7")]) as first,
        pytest.raises(DocumentError, match=r"document '7' has who=None"),
    ):
        copied(first, tmp_path / "b.inb", storage=Storage(tenant="who"))


def test_pages_are_bounded_by_points_and_by_bytes(
    tmp_path: Path, qdrant_server: QdrantServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inbedder_retrieval.collection.origin.PAGE_BYTES", 300_000)
    monkeypatch.setattr("inbedder_retrieval.collection.origin.FIRST_PAGE", 4)
    long = [Document("lamp " * 10_000 + str(n), id=n) for n in range(60)]
    a_collection(tmp_path / "long.inb", long).close()
    a_collection(tmp_path / "short.inb", [*MANY, *(Document(f"{n}", id=n) for n in range(300))])
    sizes: dict[str, list[int]] = {}
    for name, largest in (("long", 6), ("short", 128)):
        monkeypatch.setattr("inbedder_retrieval.collection.origin.LARGEST_PAGE", 128)
        copy_collection(tmp_path / f"{name}.inb", f"{qdrant_server.url}/{name}")
        sizes[name] = [
            len(request.body["points"])
            for request in qdrant_server.requests
            if (request.method, request.path) == ("PUT", f"/collections/{name}/points")
        ]
        assert max(sizes[name]) <= largest
    assert sum(sizes["long"]) == 60
    # Pages grow where there is room.
    assert sizes["short"][:4] == [4, 8, 16, 32]


def test_a_disk_without_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_collection(tmp_path / "a.inb").close()
    before = sorted(tmp_path.iterdir())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=90 * 3 * 32 * 4 - 1))
    for name in ("b.inb", "b.parquet"):
        with pytest.raises(EngineError, match=r"b\..* has room for 0 MB, and the vectors alone"):
            copy_collection(tmp_path / "a.inb", tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("way", ["to", "from"])
def test_a_server_that_goes_is_an_error_and_the_same_call_goes_on(
    tmp_path: Path, qdrant_server: QdrantServer, way: str
) -> None:
    folder, address = tmp_path / "a.inb", f"{qdrant_server.url}/c"
    source, target = (folder, address) if way == "to" else (address, folder)
    a_collection(source).close()
    impatient = Connection(patience=0.0)

    def stop(done: int, _: int) -> None:
        if done == 40:
            qdrant_server.stop()

    with pytest.raises(EngineError, match="no Qdrant server answers at"):
        copy_collection(source, target, connection=impatient, progress=stop)
    with pytest.raises(EngineError, match="no Qdrant server answers at"):
        copy_collection(source, target, connection=impatient)
    qdrant_server.start()
    report = copy_collection(source, target, connection=impatient)
    assert (report.written, report.present) == (50, 40)
    with ViewCollection.open(target, FakeEmbedder()) as found:
        check_holds(found, MANY)


def test_an_empty_collection_is_copied(tmp_path: Path) -> None:
    a_collection(tmp_path / "a.inb", []).close()
    copy_collection(tmp_path / "a.inb", tmp_path / "a.parquet")
    report = copy_collection(tmp_path / "a.parquet", tmp_path / "b.inb")
    assert (report.documents, report.written) == (0, 0)
    with ViewCollection.open(tmp_path / "b.inb", FakeEmbedder()) as found:
        assert found.views == VIEWS
        assert found.count() == 0


def test_no_model_is_loaded(tmp_path: Path) -> None:
    a_collection(tmp_path / "a.inb").close()
    code = (
        "import sys; from inbedder_retrieval.collection.copies import copy_collection; "
        "copy_collection('a.inb', 'a.parquet'); copy_collection('a.parquet', 'b.inb'); "
        "print({'torch', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_vectors_are_the_sources_to_the_last_bit_but_one(tmp_path: Path) -> None:
    with a_collection(":memory:") as first:
        names = [record.vector for record in run(first._store.refresh()).records.values()]
        second, _ = copied(first, tmp_path / "b.inb")
        with second:
            pages = [
                run(one._store.engine.scroll(["id"], limit=200, vectors=names))[0]
                for one in (first, second)
            ]
        for before, after in zip(
            *(sorted(page, key=lambda p: p.id) for page in pages), strict=True
        ):
            assert before.payload == after.payload
            for name in names:
                np.testing.assert_array_max_ulp(before.vectors[name], after.vectors[name], 2)


def test_a_collection_copies_itself_and_goes_into_a_file_and_out(
    tmp_path: Path, views: Views, documents: list[Document], fake: FakeEmbedder
) -> None:
    with ViewCollection.create(":memory:", views, fake) as collection:
        collection.add(documents)
        expected = {hit.id: hit.score for hit in collection.search("the lamp", view="need")}
        assert collection.to_parquet(tmp_path / "a.parquet").documents == len(documents)
        with collection.copy(tmp_path / "c.inb") as copied:
            copied_scores = {hit.id: hit.score for hit in copied.search("the lamp", view="need")}
            assert copied_scores == pytest.approx(expected, abs=1e-5)
    archive, seen = tmp_path / "a.parquet", fake.texts_seen
    with ViewCollection.from_parquet(archive, ":memory:", fake) as read:
        assert fake.texts_seen == seen
        assert {hit.id: hit.score for hit in read.search("the lamp", view="need")} == pytest.approx(
            expected, abs=1e-5
        )
    with pytest.raises(ModelMismatch):
        ViewCollection.from_parquet(archive, tmp_path / "d.inb", FakeEmbedder(seed=1))
    ViewCollection.open(tmp_path / "d.inb", fake).close()
