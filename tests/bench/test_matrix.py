from __future__ import annotations

import itertools
import sys

import pytest

from inbedder_retrieval.bench import matrix
from inbedder_retrieval.bench.matrix import matrix_peak
from inbedder_retrieval.errors import MissingExtraError


@pytest.mark.parametrize("precision", ["int8", "float32", "bfloat16"])
def test_a_peak_is_measured_in_every_precision_of_a_cpu(precision: str) -> None:
    peak = matrix_peak("cpu", precision, threads=1)
    assert peak is not None
    # From less than any machine of today to more.
    assert 1e8 < peak < 1e15


def test_a_product_counts_two_operations_for_each_multiplication(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a clock that moves by half a second whenever it is looked at."""
    clock = itertools.count(0.0, 0.5)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    assert matrix._numpy_rate((2, 3, 4)) == 2 * 2 * 3 * 4 / 0.5


def test_a_peak_that_cannot_be_measured_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"inbedder-retrieval\[bench\]"):
        matrix_peak("cpu", "int8")


def test_there_is_no_peak_where_nothing_runs() -> None:
    assert matrix_peak("cuda", "int8") is None
