from __future__ import annotations

import sys
from pathlib import Path

import pytest

from inbedder_retrieval.bench.measure import latency, measure
from inbedder_retrieval.bench.probe import Engine
from inbedder_retrieval.bench.workload import drawn_texts, questions, work_of
from inbedder_retrieval.checkpoint import Checkpoint
from inbedder_retrieval.errors import InputError

TEXTS = list(drawn_texts(9, 1, 6))
TORCH = Engine(backend="torch")


def test_a_small_run_reports_every_contender(
    tiny_folder: Path, tiny_checkpoint: Checkpoint
) -> None:
    said: list[str] = []
    report = measure(
        TEXTS,
        str(tiny_folder),
        views=(2, 1, 2),
        engine=TORCH,
        repeats=2,
        memory=False,
        progress=said.append,
    )
    contenders = ("inbedder", "the original's loop", "sentence-transformers")
    assert [(speed.contender, speed.views) for speed in report.speeds] == [
        (contender, views) for contender in contenders for views in (1, 2)
    ]
    assert {len(speed.turns) for speed in report.speeds} == {2}
    assert {speed.texts for speed in report.speeds} == {9}
    assert {speed.peak_mib for speed in report.speeds} == {None}
    assert {speed.batch is None for speed in report.speeds[:2]} == {True}
    assert all(speed.batch in (4, 32) for speed in report.speeds[2:4])
    work = work_of(tiny_checkpoint, TEXTS, questions(2))
    assert (report.ours(2).tokens, report.ours(2).operations) == (work.tokens, work.operations)
    assert set(report.shares) == {1, 2}
    assert not report.missing
    assert any("turn 3 of 3" in text for text in said)


def test_slow_peers_get_a_part_of_the_texts(tiny_folder: Path) -> None:
    texts = list(drawn_texts(150, 1, 3))
    report = measure(texts, str(tiny_folder), views=(1,), engine=TORCH, repeats=1, memory=False)
    found = {speed.contender: speed.texts for speed in report.speeds}
    # Of 150 prompts every second one, since no more than 128 are run.
    assert found["the original's loop"] == 75
    assert found["inbedder"] == found["sentence-transformers"] == 150


def test_what_is_not_installed_is_left_out_and_said(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    report = measure(TEXTS, str(tiny_folder), views=(1,), engine=TORCH, repeats=1, memory=False)
    assert [speed.contender for speed in report.speeds] == ["inbedder", "the original's loop"]
    assert set(report.missing) == {"sentence-transformers", "matrix peak"}
    assert all("pip install 'inbedder-retrieval[bench]'" in why for why in report.missing.values())
    assert report.matrix_peak is None
    assert report.shares == {}


def test_texts_longer_than_the_model_reads_are_cut_for_all_and_counted(tiny_folder: Path) -> None:
    report = measure(
        ["refund " * 200, "short"],
        str(tiny_folder),
        views=(1,),
        engine=TORCH,
        repeats=1,
        peers=(),
        memory=False,
    )
    assert report.cut == 1
    assert report.texts == 2
    # 40 pieces are read of the long one.
    assert report.ours(1).tokens < 2 * (2 + 40 + 40)


def test_memory_is_that_of_a_process_of_its_own() -> None:
    report = measure(["a", "b"], views=(1, 2), repeats=1, peers=())
    for speed in report.speeds:
        assert speed.peak_mib is not None
        assert 50 < speed.peak_mib < 2000
        assert speed.device_mib is None


@pytest.mark.parametrize(
    ("texts", "given", "message"),
    [
        ([], {}, "no text"),
        (["a"], {"repeats": 0}, "at least 1"),
        (["a"], {"views": ()}, "no number of views"),
        (["a"], {"views": (65,)}, "choose 1 to 64"),
    ],
)
def test_a_run_that_cannot_be_made_is_refused(
    texts: list[str], given: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        measure(texts, **given)  # type: ignore[arg-type]


def test_latency_is_measured_over_processes_and_queries() -> None:
    found = latency(processes=2, queries=5)
    assert (found.processes, found.queries) == (2, 5)
    assert found.start_seconds > found.import_seconds + found.load_seconds > 0
    assert 0 < found.warm_p50_ms <= found.warm_p95_ms
    assert 0 < found.cold_p50_ms <= found.cold_p95_ms
    with pytest.raises(InputError, match="at least 1"):
        latency(processes=0)
