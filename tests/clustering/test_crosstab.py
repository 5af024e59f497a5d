"""The cross table, beside scipy's and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import contingency

from inbedder_retrieval import InputError
from inbedder_retrieval.cluster import cluster
from inbedder_retrieval.clusters import Clusters
from inbedder_retrieval.corpus import Corpus
from inbedder_retrieval.crosstab import cross


@pytest.fixture(scope="module")
def pair(demo: Corpus) -> tuple[Clusters, Clusters]:
    return cluster(demo, "product", k=5), cluster(demo, "feeling", method="hdbscan")


def test_counts_and_deviations_are_those_of_scipy(pair: tuple[Clusters, Clusters]) -> None:
    one, other = pair
    table = cross(one, other)
    rows, columns = list(one.labels.values()), list(other.labels.values())
    found = contingency.crosstab(rows, columns, levels=(table.row_ids, table.column_ids))
    counts = np.asarray(found.count)
    assert table.counts == counts.tolist()
    assert table.column_ids[-1] == -1
    assert table.column_names[-1] == "noise"
    assert table.documents == 375
    expected = contingency.expected_freq(counts)
    np.testing.assert_allclose(table.times, counts / expected)
    part_row = counts.sum(axis=1, keepdims=True) / 375
    part_column = counts.sum(axis=0) / 375
    spread = np.sqrt(expected * (1 - part_row) * (1 - part_column))
    np.testing.assert_allclose(table.deviations, (counts - expected) / spread, atol=1e-9)


def test_a_view_against_itself_is_all_on_the_diagonal(pair: tuple[Clusters, Clusters]) -> None:
    table = cross(pair[0], pair[0])
    counts = np.array(table.counts)
    assert counts.sum() == np.trace(counts) == 375
    assert (np.diag(table.deviations) > 10).all()


def test_one_cluster_deviates_from_nothing(pair: tuple[Clusters, Clusters], demo: Corpus) -> None:
    table = cross(cluster(demo, "need", k=1), pair[0])
    assert np.isfinite(table.deviations).all()
    assert not np.any(table.deviations)
    np.testing.assert_allclose(table.times, 1)


def test_other_documents_are_refused(pair: tuple[Clusters, Clusters], blobbed: Corpus) -> None:
    with pytest.raises(InputError, match="no document in common"):
        cross(pair[0], cluster(blobbed, "which", k=3))
