from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from inbedder_retrieval.bench import storage
from inbedder_retrieval.bench.backfill import Backfill, measure_backfill
from inbedder_retrieval.bench.given import FIELD, VIEWS, Kind, draw, nearest
from inbedder_retrieval.bench.show import print_storage
from inbedder_retrieval.bench.storage import (
    Searches,
    Stage,
    StorageReport,
    StoreFigures,
    measure_storage,
)
from inbedder_retrieval.bench.stores import STORES
from inbedder_retrieval.errors import InputError
from inbedder_retrieval.testing import FakeEmbedder
from tests.bench.test_figures import MACHINE

NAMES = [kind.name for kind in STORES]
PIP = {"LangChain": "langchain-qdrant", "LlamaIndex": "llama-index-vector-stores-qdrant"}
MODULES = {"LangChain": "langchain_qdrant", "LlamaIndex": "llama_index"}
INSTALLED = [name for name in NAMES if name not in PIP or find_spec(MODULES[name]) is not None]


@pytest.fixture(scope="module")
def measured() -> StorageReport:
    """300 documents of 16 numbers in every store there is, and a view added to 40 texts."""
    return measure_storage(300, dimension=16, queries=10, backfill=40, turns=1)


def test_every_store_that_is_installed_is_measured_on_the_same_documents(
    measured: StorageReport,
) -> None:
    assert [store.store for store in measured.stores] == INSTALLED
    assert {store.documents for store in measured.stores} == {300}
    assert [store.vectors for store in measured.stores][:4] == [3, 3, 3, 3]
    assert {store.vectors for store in measured.stores[4:]} <= {1}
    # Beside this package the engine it runs on, so that what it adds can be told.
    assert measured.stores[1].store == "Qdrant Edge alone"
    assert measured.stores[0].engine == measured.stores[1].engine
    assert measured.stores[1].engine.startswith("edge (Qdrant Edge ")
    assert all("local mode" in store.engine for store in measured.stores[2:])
    kept = [store.store for store in measured.stores if store.open_seconds is not None]
    assert kept == [name for name in INSTALLED if name != "qdrant-client, memory"]


def test_a_store_that_is_not_installed_is_left_out_with_the_line_that_installs_it(
    measured: StorageReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = {name: f"it is not installed; run: pip install {PIP[name]}" for name in PIP}
    expected = {name: why for name, why in absent.items() if name not in INSTALLED}
    assert measured.missing == expected
    for module in ("langchain_qdrant", "llama_index.vector_stores.qdrant"):
        monkeypatch.setitem(sys.modules, module, None)
    alone = measure_storage(100, dimension=4, queries=1, backfill=0, stores=STORES[4:])
    assert alone.missing == absent
    assert [store.store for store in alone.stores] == ["inbedder"]
    assert alone.backfill is None


def test_all_stores_find_what_a_comparison_with_every_vector_finds(measured: StorageReport) -> None:
    assert {one.recall for store in measured.stores for one in store.searches} == {1.0}
    ours = measured.ours(300)
    kinds: tuple[Kind, ...] = ("one view", "filtered", "three views")
    stages: tuple[Stage, ...] = ("added", "optimized")
    for stage in stages:
        for kind in kinds:
            found = ours.of(kind, stage)
            assert found is not None
            assert found.queries == 10
            assert 0 < found.p50_ms <= found.p95_ms
    assert ours.of("one view, exact", "optimized") is not None
    first = ours.of("filtered", first=True)
    assert first is not None
    assert first.queries == 1
    assert ours.optimize_seconds is not None
    for other in measured.stores[1:]:
        assert [(one.kind, one.first) for one in other.searches] == [
            ("one view", False),
            ("filtered", False),
        ]


def test_a_slow_store_gets_a_tenth_and_so_does_this_package() -> None:
    report = measure_storage(
        200, dimension=4, queries=2, backfill=0, stores=STORES[2:3], longest=0.0
    )
    assert [(store.store, store.documents) for store in report.stores] == [
        ("inbedder", 200),
        ("inbedder", 20),
        ("qdrant-client, folder", 20),
    ]
    [ratio] = report.ratios
    assert ratio.documents == 20
    ours, theirs = report.stores[1:]
    assert ratio.add == pytest.approx(ours.vectors_per_second / theirs.vectors_per_second)


def test_slow_searches_end_before_all_queries_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "LONGEST_SEARCH", 0.0)
    report = measure_storage(100, dimension=4, queries=30, backfill=0, stores=())
    [ours] = report.stores
    assert {one.queries for one in ours.searches if not one.first} == {20}
    assert {one.recall for one in ours.searches} == {1.0}


def searches(kind: Kind, p50: float, stage: Stage = "added") -> Searches:
    return Searches(kind=kind, stage=stage, queries=2, p50_ms=p50, p95_ms=2 * p50, recall=1.0)


def made_up() -> StorageReport:
    """This package on 1000 and on 100 documents, and another store on 100."""

    def ours(documents: int, plain: float) -> StoreFigures:
        return StoreFigures(
            store="inbedder",
            engine="edge",
            documents=documents,
            vectors=3,
            add_seconds=documents / 500,
            open_seconds=0.5,
            optimize_seconds=9.0 if documents == 1000 else None,
            searches=[
                searches("one view", plain),
                searches("filtered", plain / 2),
                searches("three views", 3 * plain),
                searches("one view", 0.5, "optimized"),
                searches("filtered", 0.25, "optimized"),
                searches("three views", 2.0, "optimized"),
            ],
        )

    other = StoreFigures(
        store="other",
        engine="local mode",
        documents=100,
        vectors=1,
        add_seconds=2.0,
        open_seconds=2.0,
        searches=[searches("one view", 6.0), searches("filtered", 10.0)],
    )
    return StorageReport(
        machine=MACHINE,
        documents=1000,
        dimension=16,
        queries=2,
        stores=[ours(1000, 8.0), ours(100, 2.0), other],
        backfill=Backfill(
            model="m",
            documents=7,
            embed_turns=[2.0, 1.0, 4.0],
            add_view_turns=[2.2, 9.0, 1.0],
            searched_seconds=3.0,
            answers=5,
            p50_ms=4.0,
            p95_ms=6.0,
        ),
        missing={"LangChain": "it is not installed"},
    )


def test_rates_and_ratios_follow_from_what_was_measured() -> None:
    """1000 documents of 3 vectors in 2 s; on 100: 1500 vectors a second to 50, 6 ms to 2."""
    report = made_up()
    ours = report.ours(1000)
    assert (ours.documents_per_second, ours.vectors_per_second) == (500.0, 1500.0)
    assert ours.filtered_times == {"added": 0.5, "optimized": 0.5}
    assert ours.three_views_times == {"added": 3.0, "optimized": 4.0}
    assert report.stores[2].three_views_times == {}
    [ratio] = report.ratios
    assert (ratio.store, ratio.documents) == ("other", 100)
    assert (ratio.add, ratio.search, ratio.filtered, ratio.opened) == (30.0, 3.0, 10.0, 4.0)
    assert report.backfill is not None
    assert report.backfill.ratio == pytest.approx(1.1)


def test_a_report_comes_back_from_json_with_what_follows_from_it() -> None:
    text = made_up().model_dump_json()
    assert '"ratio":1.1' in text
    assert '"documents_per_second":500.0' in text
    assert StorageReport.model_validate_json(text) == made_up()


def test_a_report_is_shown_with_every_store_and_what_was_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_storage(made_up())
    said = capsys.readouterr()
    for shown in (
        "what would take longer than a minute for all documents was measured on a tenth of them",
        "as fast as other        100  30.0 x      3.0 x       10.0 x    4.0 x",
        "a filter on an indexed field, added: 0.50 x",
        "three views with weights, optimized: 4.00 x",
        "adding a view to 7 documents takes 1.10 x",
        "meanwhile 5 answers from another view in 3.0 s: 4.0 ms (p95 6.0)",
    ):
        assert shown in said.out
    assert said.err == "left out: LangChain: it is not installed\n"


def test_a_view_is_added_in_turns_and_searched_meanwhile(tmp_path: Path) -> None:
    fake = FakeEmbedder()
    found = measure_backfill(tmp_path, 600, embedder=fake, turns=2)
    # Stored under one view, twice embedded alone and twice by `add_view`, and once more searched.
    assert 600 * 6 < fake.texts_seen <= 600 * 6 + 200
    assert len(found.embed_turns) == len(found.add_view_turns) == 2
    assert found.answers >= 1
    assert found.p50_ms is not None
    assert found.p95_ms is not None
    assert 0 < found.p50_ms <= found.p95_ms <= 1000 * found.searched_seconds
    assert (found.documents, found.model) == (600, "fake")


def test_what_is_drawn_is_of_unit_length_clustered_and_the_same_every_time() -> None:
    given, again = draw(400, 5, 16), draw(400, 5, 16)
    assert len({document.text for document in given.documents}) == 400
    assert 60 < np.mean([len(document.text) for document in given.documents]) < 140
    assert {document.metadata[FIELD] for document in given.documents} == {
        f"k{k}" for k in range(10)
    }
    for view in VIEWS.names:
        vectors = given.stored(view)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
        np.testing.assert_array_equal(vectors, again.stored(view))
    one, other = (given.stored(view) for view in VIEWS.names[:2])
    assert abs(np.mean((one * other).sum(axis=1))) < 0.1
    embedded = given.vectors.embed([given.documents[7].text, given.queries[0]], VIEWS)
    np.testing.assert_array_equal(embedded[VIEWS.names[0]][0], one[7])


def test_the_nearest_are_those_of_a_sorted_list() -> None:
    given = draw(60, 4, 8)
    weights = dict(zip(VIEWS.names, (0.5, 0.3, 0.2), strict=True))
    for value in (None, "k3"):
        found = nearest(given, weights, limit=5, value=value)
        for query, near in zip(given.queries, found, strict=True):
            scores = {
                document.id: sum(
                    weight * float(given.stored(view)[row] @ given.query(query, view))
                    for view, weight in weights.items()
                )
                for row, document in enumerate(given.documents)
                if value is None or document.metadata[FIELD] == value
            }
            assert near == set(sorted(scores, key=lambda one: -scores[one])[:5])


def test_too_little_to_measure_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="99 documents were asked for; storage is measured with"):
        measure_storage(99)
    with pytest.raises(InputError, match="0 queries of 384 numbers"):
        measure_storage(100, queries=0)
    with pytest.raises(InputError, match="2 queries of 1 numbers"):
        measure_storage(100, queries=2, dimension=1)
    with pytest.raises(InputError, match="0 turns of 5 documents"):
        measure_backfill(tmp_path, 5, turns=0)
    with pytest.raises(InputError, match="no vector was drawn for 'another'"):
        draw(3, 1, 4).vectors.embed(["another"], VIEWS)
