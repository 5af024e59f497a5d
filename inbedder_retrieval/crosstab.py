"""Cross table: the clusters of two views against each other, and what stands out in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from inbedder_retrieval.clusters import NOISE, Clusters
from inbedder_retrieval.errors import InputError

__all__ = ["CrossTable", "cross"]


class CrossTable(BaseModel):
    """How many documents are in a cluster of one view and in a cluster of another.

    Attributes:
        rows, columns: the views' names.
        row_names, column_names: the clusters' names; the last one may be noise.
        row_ids, column_ids: the clusters' ids.
        counts: documents in both clusters.
        times: the count as a multiple of what it would be if the views had nothing to do with each
            other.
        deviations: the same as adjusted standardized residuals (Agresti, Categorical Data Analysis,
            section 3.3): beyond 3 or -3 chance hardly explains a cell.
    """

    model_config = ConfigDict(frozen=True)

    rows: str
    columns: str
    row_ids: list[int]
    column_ids: list[int]
    row_names: list[str]
    column_names: list[str]
    counts: list[list[int]]
    times: list[list[float]]
    deviations: list[list[float]]

    @property
    def documents(self) -> int:
        return sum(map(sum, self.counts))


def cross(one: Clusters, other: Clusters) -> CrossTable:
    """Count the documents that both have clustered, by their clusters.

    Raises:
        InputError: they have no document in common.
    """
    shared = [document for document in one.labels if document in other.labels]
    if not shared:
        raise InputError(
            f"the clusters of {one.view!r} and {other.view!r} have no document in common; cluster "
            "the same documents under both views"
        )
    row_ids, column_ids = _ids(one), _ids(other)
    counts: NDArray[np.int64] = np.zeros((len(row_ids), len(column_ids)), dtype=np.int64)
    row_of = {label: place for place, label in enumerate(row_ids)}
    column_of = {label: place for place, label in enumerate(column_ids)}
    for document in shared:
        counts[row_of[one.labels[document]], column_of[other.labels[document]]] += 1
    total = counts.sum()
    row, column = counts.sum(axis=1, keepdims=True) / total, counts.sum(axis=0) / total
    expected = row * column * total
    spread = np.sqrt(expected * (1 - row) * (1 - column))
    # A row or column that holds all documents, or none, deviates from nothing.
    safe = np.where(expected > 0, expected, 1.0)
    times = np.where(expected > 0, counts / safe, 0.0)
    deviations = np.where(spread > 0, (counts - expected) / np.where(spread > 0, spread, 1.0), 0.0)
    return CrossTable(
        rows=one.view,
        columns=other.view,
        row_ids=row_ids,
        column_ids=column_ids,
        row_names=[one.name(label) for label in row_ids],
        column_names=[other.name(label) for label in column_ids],
        counts=counts.tolist(),
        times=times.tolist(),
        deviations=deviations.tolist(),
    )


def _ids(clusters: Clusters) -> list[int]:
    noise = [NOISE] if NOISE in clusters.labels.values() else []
    return [found.id for found in clusters.clusters] + noise
