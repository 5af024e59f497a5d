"""One contract on every engine: what is written is found, with the scores NumPy gives."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import (
    CollectionExists,
    CollectionNotFound,
    EngineError,
    InputError,
    Where,
)
from inbedder_retrieval.collection.engine import FoundPoint, Point, VectorQuery
from tests.collection.engines import RunEngine, create_engine, open_engine
from tests.collection.locations import KINDS, a_location

WIDTH = 16
WIDTHS = {"answer-one": WIDTH, "answer-two": WIDTH, "answer-three": WIDTH}
NAMES = list(WIDTHS)
REGISTRY = {
    "inbedder": {"format": 1, "größe": [1, None, 2.5]},
    "inbedder.view.a": {"question": "How?", "deep": {"er": {}}},
}


@pytest.fixture
def engine(location: str | Path) -> Iterator[RunEngine]:
    engine = create_engine(location, WIDTHS, REGISTRY)
    yield engine
    with suppress(EngineError):
        engine.close()


@pytest.fixture(scope="module", params=KINDS)
def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunEngine]:
    """An engine with the 150 points of `POINTS`, to be read only."""
    with a_location(request.param, tmp_path_factory.mktemp("full")) as found:
        engine = create_engine(found, WIDTHS, REGISTRY)
        engine.upsert(POINTS)
        yield engine
        engine.close()


def unit(random: np.random.Generator) -> Any:
    vector = random.standard_normal(WIDTH)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def make_points(count: int, *, seed: int = 0) -> list[Point]:
    random = np.random.default_rng(seed)
    return [
        Point(
            str(uuid.UUID(int=seed << 64 | number)),
            {"n": number, "metadata": {"third": number % 3}},
            {name: unit(random) for name in NAMES},
        )
        for number in range(count)
    ]


POINTS = make_points(150)
QUERY = {name: unit(np.random.default_rng(99)) for name in NAMES}


def exact_scores(points: list[Point], weights: dict[str, float]) -> dict[int, float]:
    """The weighted sum of cosines in float64; a view that a point lacks counts zero."""
    return {
        point.payload["n"]: sum(
            weight * float(np.dot(QUERY[name].astype(float), point.vectors[name].astype(float)))
            for name, weight in weights.items()
            if name in point.vectors
        )
        for point in points
    }


def assert_best(
    found: list[FoundPoint], exact: dict[int, float], limit: int, tolerance: float = 1e-6
) -> None:
    """The hits are the `limit` best of `exact`, in order; equal scores may come in any order."""
    numbers = [point.payload["n"] for point in found]
    scores = [point.score for point in found]
    assert len(set(numbers)) == len(numbers) == min(limit, len(exact))
    assert scores == sorted(scores, reverse=True)
    np.testing.assert_allclose(scores, [exact[n] for n in numbers], atol=tolerance, rtol=0)
    best = sorted(exact.values(), reverse=True)[:limit]
    np.testing.assert_allclose(scores, best, atol=tolerance, rtol=0)


@pytest.mark.parametrize("limit", [1, 10, 150, 10_000])
@pytest.mark.parametrize("name", NAMES)
def test_a_search_of_one_view_gives_the_nearest_by_cosine(
    full: RunEngine, name: str, limit: int
) -> None:
    found = full.search([VectorQuery(name, QUERY[name])], limit=limit)
    assert_best(found, exact_scores(POINTS, {name: 1.0}), limit)


WEIGHTS = st.dictionaries(st.sampled_from(NAMES), st.floats(1e-3, 1e3), min_size=2)


@settings(max_examples=25, deadline=None)
@given(weights=WEIGHTS, limit=st.sampled_from([1, 7, 150, 1000]))
def test_a_weighted_search_gives_the_exact_weighted_sum(
    full: RunEngine, weights: dict[str, float], limit: int
) -> None:
    queries = [VectorQuery(name, QUERY[name], weight) for name, weight in weights.items()]
    found = full.search(queries, limit=limit)
    assert_best(found, exact_scores(POINTS, weights), limit, 1e-6 * sum(weights.values()))


@pytest.mark.parametrize("names", [NAMES[:1], NAMES])
def test_a_filter_comes_before_the_limit(full: RunEngine, names: list[str]) -> None:
    queries = [VectorQuery(name, QUERY[name]) for name in names]
    found = full.search(queries, limit=20, where=Where.field("third") == 1)
    fitting = [point for point in POINTS if point.payload["n"] % 3 == 1]
    assert_best(found, exact_scores(fitting, dict.fromkeys(names, 1.0)), 20)
    assert full.count(Where.field("third") == 1) == len(fitting)
    assert full.count() == len(POINTS)


def test_found_points_carry_their_payload_and_the_searched_vectors(full: RunEngine) -> None:
    queries = [VectorQuery(name, QUERY[name]) for name in NAMES[:2]]
    for point in full.search(queries, limit=5):
        stored = POINTS[point.payload["n"]]
        assert point.payload == stored.payload
        assert set(point.vectors) == set(NAMES[:2])
        for name, vector in point.vectors.items():
            np.testing.assert_allclose(vector, stored.vectors[name], atol=1e-6)


def test_beyond_the_candidates_a_weighted_search_scores_the_nearest_of_each_view(
    engine: RunEngine,
) -> None:
    points = make_points(600, seed=1)
    engine.upsert(points)
    weights = {NAMES[0]: 1.0, NAMES[1]: 0.2}
    exact = exact_scores(points, weights)
    candidates: set[int] = set()
    for name in weights:
        cosines = exact_scores(points, {name: 1.0})
        candidates.update(sorted(cosines, key=lambda n: -cosines[n])[:200])
    queries = [VectorQuery(name, QUERY[name], weight) for name, weight in weights.items()]
    found = engine.search(queries, limit=10)
    assert_best(found, {number: exact[number] for number in candidates}, 10)


def test_a_point_that_lacks_a_view_counts_zero_there(engine: RunEngine) -> None:
    points = [
        Point(point.id, point.payload, {name: point.vectors[name] for name in NAMES[: 1 + n % 3]})
        for n, point in enumerate(make_points(60, seed=2))
    ]
    engine.upsert(points)
    weights = {NAMES[2]: 1.0, NAMES[1]: 0.5}
    queries = [VectorQuery(name, QUERY[name], weight) for name, weight in weights.items()]
    found = engine.search(queries, limit=60)
    having = [point for point in points if NAMES[1] in point.vectors]
    assert_best(found, exact_scores(having, weights), 60)
    assert {NAMES[2] in point.vectors for point in found} == {True, False}


def test_strided_vectors_are_stored_and_asked_as_they_read(engine: RunEngine) -> None:
    point = make_points(1)[0]
    columns = np.asfortranarray(np.stack([point.vectors[name] for name in NAMES]))
    asked = np.asfortranarray(np.stack([QUERY[name] for name in NAMES]))
    engine.upsert([Point(point.id, point.payload, dict(zip(NAMES, columns, strict=True)))])
    found = engine.search([VectorQuery(NAMES[1], asked[1])], limit=1)
    assert_best(found, exact_scores([point], {NAMES[1]: 1.0}), 1)


def test_an_upsert_replaces_and_a_payload_alone_leaves_the_vectors(engine: RunEngine) -> None:
    first, second = make_points(2)
    engine.upsert([first, Point(second.id, {"n": 1, "old": 1}, first.vectors)])
    engine.upsert([second])
    engine.overwrite_payload([Point(first.id, {"n": 0, "new": {"a": [None]}})])
    assert engine.count() == 2
    stored = engine.retrieve([first.id, second.id], ["n", "metadata", "new", "old"])
    assert {name: point.payload for name, point in stored.items()} == {
        first.id: {"n": 0, "new": {"a": [None]}},
        second.id: second.payload,
    }
    found = engine.search([VectorQuery(NAMES[0], QUERY[NAMES[0]])], limit=9)
    assert_best(found, exact_scores([first, second], {NAMES[0]: 1.0}), 9)


def test_retrieve_reads_the_named_keys_of_the_stored_ids_only(engine: RunEngine) -> None:
    points = make_points(3)
    engine.upsert(points)
    unknown = str(uuid.UUID(int=12345))
    found = engine.retrieve([points[2].id, unknown, points[0].id], ["n", "nothing"])
    assert found == {
        points[2].id: Point(points[2].id, {"n": 2}),
        points[0].id: Point(points[0].id, {"n": 0}),
    }


def test_deleted_points_are_gone_and_unknown_ones_are_passed_over(engine: RunEngine) -> None:
    points = make_points(4)
    engine.upsert(points)
    engine.delete([points[0], points[3], Point(str(uuid.UUID(int=12345)), {})])
    assert engine.count() == 2
    found = engine.search([VectorQuery(NAMES[0], QUERY[NAMES[0]])], limit=9)
    assert {point.payload["n"] for point in found} == {1, 2}


def test_points_of_many_megabytes_are_written(engine: RunEngine) -> None:
    points = [
        Point(p.id, {"n": n, "a": "a" * 9_000_000}, p.vectors) for n, p in enumerate(POINTS[:3])
    ]
    engine.upsert(points)
    longer = [Point(point.id, point.payload | {"n": -1}) for point in points]
    engine.overwrite_payload(longer)
    stored = engine.retrieve([point.id for point in points], ["n", "a"])
    assert [(row.payload["n"], len(row.payload["a"])) for row in stored.values()] == [
        (-1, 9_000_000)
    ] * 3


def test_nothing_to_do_is_done(engine: RunEngine) -> None:
    engine.upsert([])
    engine.overwrite_payload([])
    engine.delete([])
    assert engine.retrieve([], ["n"]) == {}
    assert engine.search([VectorQuery(NAMES[0], QUERY[NAMES[0]])], limit=3) == []


def test_a_vector_of_another_width_is_refused(engine: RunEngine) -> None:
    bad = Point(POINTS[0].id, {"n": 0}, {NAMES[0]: np.ones(3, dtype=np.float32)})
    with pytest.raises(EngineError, match=r"could not write 1 points; Qdrant.* says: .*dim"):
        engine.upsert([bad])
    assert engine.count() == 0


def test_the_registry_is_read_as_it_was_written(location: str | Path) -> None:
    engine = create_engine(location, WIDTHS, REGISTRY)
    engine.upsert(POINTS[:5])
    if location != ":memory:":
        engine.flush()
        engine.close()
        engine = open_engine(location)
    assert engine.read_registry() == REGISTRY
    assert engine.count() == 5
    engine.close()


def test_a_taken_location_is_not_created_again(location: str | Path) -> None:
    if location == ":memory:":
        pytest.skip("every collection in memory is its own")
    engine = create_engine(location, WIDTHS, REGISTRY)
    engine.upsert(POINTS[:5])
    with pytest.raises(CollectionExists, match="already"):
        create_engine(location, {"other": 3}, {})
    assert engine.read_registry() == REGISTRY
    assert engine.count() == 5
    engine.close()


def test_an_indexed_field_is_listed_once_it_is_asked_for_twice(engine: RunEngine) -> None:
    engine.upsert(POINTS[:5])
    listed = {"metadata.third": "float", "metadata.no.such": "keyword"}
    for _ in range(2):
        engine.index_fields(listed)
    assert engine.indexed_fields() == ({} if engine.kind().startswith("local") else listed)


CALLS: list[Callable[[RunEngine], object]] = [
    lambda engine: engine.upsert(POINTS[:1]),
    lambda engine: engine.overwrite_payload(POINTS[:1]),
    lambda engine: engine.retrieve([POINTS[0].id], ["n"]),
    lambda engine: engine.delete(POINTS[:1]),
    lambda engine: engine.count(),
    lambda engine: engine.search([VectorQuery(NAMES[0], QUERY[NAMES[0]])], limit=1),
    lambda engine: engine.indexed_fields(),
    lambda engine: engine.read_registry(),
]


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_closed_engine_raises_engine_errors(kind: str, tmp_path: Path) -> None:
    with a_location(kind, tmp_path) as found:
        engine = create_engine(found, WIDTHS, REGISTRY)
        engine.close()
        for call in CALLS[:-1]:
            with pytest.raises(EngineError, match=r"^could not |is closed; open it again$"):
                call(engine)


def test_where_nothing_is_nothing_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    folder = tmp_path / "photos"
    (folder / "2024").mkdir(parents=True)
    for place in (tmp_path / "missing", file / "below", file, folder):
        with pytest.raises(CollectionNotFound, match=str(place)):
            open_engine(place)
    with pytest.raises(CollectionNotFound, match="lives as long as the object"):
        open_engine(":memory:")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["2024", "notes.txt", "photos"]


def test_what_is_there_is_not_created_over(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    folder = tmp_path / "photos"
    (folder / "2024").mkdir(parents=True)
    with pytest.raises(CollectionExists, match="is a file"):
        create_engine(file, WIDTHS, REGISTRY)
    with pytest.raises(CollectionExists, match=r"already holds other files \(2024, "):
        create_engine(folder, WIDTHS, REGISTRY)
    assert file.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["2024", "notes.txt", "photos"]


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
def test_a_name_no_file_system_takes_is_an_engine_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError, match="no collection can be created at"):
        create_engine(tmp_path / name, WIDTHS, REGISTRY)
    with pytest.raises((EngineError, CollectionNotFound), match="a"):
        open_engine(tmp_path / name)


def test_an_empty_location_is_not_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="location"):
        create_engine("", WIDTHS, REGISTRY)
    with pytest.raises(InputError, match="location"):
        open_engine("")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_an_engine_error(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(EngineError, match=r"no collection can be created at .*notes\.txt/c"):
        create_engine(file / "c", WIDTHS, REGISTRY)
    assert list(tmp_path.iterdir()) == [file]
