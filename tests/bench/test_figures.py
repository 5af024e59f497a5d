from __future__ import annotations

import json

import pytest

from inbedder_retrieval.bench.figures import BenchReport, Speed
from inbedder_retrieval.bench.machine import Machine

MACHINE = Machine(
    processor="a processor", cores=2, accelerator=None, system="Linux", python="3.12", versions={}
)


def speed(contender: str, views: int, texts: int, turns: list[float]) -> Speed:
    return Speed(
        contender=contender,
        precision="float32",
        views=views,
        texts=texts,
        turns=turns,
        tokens=600,
        operations=1000 if contender == "inbedder" else None,
    )


def report(peak: float | None) -> BenchReport:
    return BenchReport(
        machine=MACHINE,
        model="m",
        runtime="onnx int8",
        texts=10,
        words="1 to 90 words",
        cut=0,
        repeats=3,
        matrix_peak=peak,
        speeds=[
            speed("inbedder", 1, 10, [2.0, 1.0, 9.0]),
            speed("inbedder", 8, 10, [4.0, 4.0, 1.0]),
            speed("slow", 1, 5, [10.0, 10.0, 10.0]),
            speed("slow", 8, 2, [8.0, 32.0, 16.0]),
        ],
    )


def test_rates_are_those_of_the_median_turn() -> None:
    found = speed("inbedder", 8, 10, [2.0, 1.0, 9.0])
    assert found.seconds == 2.0
    assert found.texts_per_second == 5.0
    assert found.views_per_second == 40.0
    assert found.tokens_per_second == 300.0


def test_ratios_are_of_views_a_second_under_as_many_views() -> None:
    """10 views in 2 s to 5 in 10 s; 80 in 4 s to 16 in 16 s."""
    found = {(ratio.peer, ratio.views): ratio.times for ratio in report(None).ratios}
    assert found == {("slow", 1): 10.0, ("slow", 8): 20.0}


def test_shares_are_of_the_peak_and_only_where_there_is_one() -> None:
    """1000 operations in 2 s and in 4 s, of 2000 a second."""
    assert report(2000.0).shares == {1: 0.25, 8: 0.125}
    assert report(None).shares == {}


def test_a_report_comes_back_from_json_with_what_follows_from_it() -> None:
    text = report(2000.0).model_dump_json()
    assert json.loads(text)["ratios"][1] == {"peer": "slow", "views": 8, "times": 20.0}
    assert json.loads(text)["speeds"][0]["views_per_second"] == pytest.approx(5.0)
    assert BenchReport.model_validate_json(text) == report(2000.0)
