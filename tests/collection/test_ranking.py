"""Rankings against Qdrant's own, and against counting by hand."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from inbedder_retrieval.collection.engine import FoundPoint
from inbedder_retrieval.collection.ranking import diversified, fused, grouped, in_order

WIDTH, COUNT = 8, 60


def unit_rows(count: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, WIDTH))
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def points(scores: dict[str, float]) -> list[FoundPoint]:
    return [FoundPoint(name, {}, {}, score) for name, score in scores.items()]


def found_near(rows: np.ndarray, query: np.ndarray) -> list[FoundPoint]:
    return [
        FoundPoint(str(uuid.UUID(int=k)), {}, {"v": row.astype(np.float32)}, float(row @ query))
        for k, row in enumerate(rows)
    ]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    diversity=st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]),
    k=st.integers(1, 20),
)
def test_diversity_chooses_as_qdrant_does(seed: int, diversity: float, k: int) -> None:
    rows, query = unit_rows(COUNT, seed), unit_rows(1, seed + 5000)[0]
    client = QdrantClient(":memory:")
    client.create_collection(
        "c", {"v": models.VectorParams(size=WIDTH, distance=models.Distance.COSINE)}
    )
    ids = [str(uuid.UUID(int=number)) for number in range(COUNT)]
    client.upsert(
        "c",
        [
            models.PointStruct(id=name, vector={"v": row.tolist()})
            for name, row in zip(ids, rows, strict=True)
        ],
    )
    theirs = client.query_points(
        "c",
        query=models.NearestQuery(
            nearest=query.tolist(), mmr=models.Mmr(diversity=diversity, candidates_limit=COUNT)
        ),
        using="v",
        limit=k,
    ).points
    ours = diversified(found_near(rows, query), {"v": 1.0}, diversity, k)
    assert [point.id for point in ours] == [point.id for point in theirs]
    client.close()


def test_diversity_over_several_views_weighs_each_likeness() -> None:
    """Worked out with a double loop, a view of one point missing."""
    first, second = unit_rows(12, 1), unit_rows(12, 2)
    query = unit_rows(2, 3)
    weights = {"a": 3.0, "b": 1.0}
    found = [
        FoundPoint(
            f"{k:02}",
            {},
            {"a": first[k], "b": second[k]} if k != 4 else {"a": first[k]},
            3 * float(first[k] @ query[0]) + (float(second[k] @ query[1]) if k != 4 else 0.0),
        )
        for k in range(12)
    ]

    def likeness(one: FoundPoint, other: FoundPoint) -> float:
        shared = one.vectors.keys() & other.vectors.keys()
        return sum(weights[n] * float(one.vectors[n] @ other.vectors[n]) for n in shared) / 4

    left, chosen = list(found), list[FoundPoint]()
    while len(chosen) < 7:
        gains = [
            0.6 * point.score / 4 - 0.4 * max((likeness(point, c) for c in chosen), default=0.0)
            for point in left
        ]
        chosen.append(left.pop(int(np.argmax(gains))))
    ours = diversified(found, weights, 0.4, 7)
    assert [point.id for point in ours] == [point.id for point in chosen]
    assert {point.id: point.score for point in ours} == {p.id: p.score for p in chosen}


def test_nothing_is_diversified_and_a_few_are_all_chosen() -> None:
    assert diversified([], {"v": 1.0}, 0.5, 3) == []
    rows = unit_rows(2, 0)
    assert len(diversified(found_near(rows, rows[0]), {"v": 1.0}, 0.5, 10)) == 2


def test_ranks_are_fused_by_their_reciprocals() -> None:
    first = points({"a": 0.9, "b": 0.8, "c": 0.7})
    second = points({"c": 0.3, "d": 0.2, "b": 0.1})
    found = fused([first, second], [1.0, 2.0])
    assert {point.id: point.score for point in found} == pytest.approx(
        {"a": 1 / 61, "b": 1 / 62 + 2 / 63, "c": 1 / 63 + 2 / 61, "d": 2 / 62}
    )
    assert [point.id for point in found] == ["c", "b", "d", "a"]


def test_points_of_one_score_are_ordered_by_id() -> None:
    assert [point.id for point in in_order(points({"b": 1.0, "c": 2.0, "a": 1.0}))] == [
        "c",
        "a",
        "b",
    ]


def test_groups_come_in_the_order_of_their_best_point_and_keep_so_many() -> None:
    found = points(dict.fromkeys("abcdefg", 1.0))
    groups = grouped(found, ["x", 1, None, "x", True, "x", 1.5], 2)
    assert [(value, [point.id for point in members]) for value, members in groups] == [
        ("x", ["a", "d"]),
        (1, ["b"]),
        (True, ["e"]),
        (1.5, ["g"]),
    ]
