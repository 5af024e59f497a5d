from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import Run, refused


def test_a_small_run_is_shown_and_written(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    options = "--texts 4 --words 3-5 --views 2 --repeats 1 --no-memory --no-peers"
    said = run("bench", *options.split(), "--json", file)
    assert (said.code, said.err) == (0, "")
    for shown in ("4 texts, 3 to 5 words", "2 views", "views/s", "of peak", "start to first"):
        assert shown in said.out
    report = json.loads(file.read_text(encoding="utf-8"))
    assert [(speed["contender"], speed["views"]) for speed in report["speeds"]] == [("inbedder", 2)]
    assert (report["texts"], report["words"], report["repeats"]) == (4, "3 to 5 words", 1)
    assert report["latency"]["processes"] == 2
    assert report["machine"]["versions"]["onnxruntime"]


def test_peers_are_shown_with_their_ratios_on_a_file_of_ones_own(
    run: Run, tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine two threads of a child spend their time waiting for each other.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    texts, file = tmp_path / "texts.txt", tmp_path / "bench.json"
    texts.write_text("where is my refund\n\n  love the lamp  \none more\n", encoding="utf-8")
    options = "--texts 2 --views 1 --repeats 1 --no-memory --backend torch --precision float32"
    said = run(
        *("bench", *options.split(), "--model", tiny_folder, "--file", texts, "--json", file)
    )
    assert (said.code, said.err) == (0, "")
    assert "2 texts, 3 to 4 words, of texts.txt" in said.out
    report = json.loads(file.read_text(encoding="utf-8"))
    for ratio in report["ratios"]:
        assert f"{ratio['peer']}, float32" in said.out
        assert f"{ratio['times']:.1f} x" in said.out
    assert len(report["ratios"]) == 2


def test_a_small_curve_is_shown_and_written(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "curve.json"
    said = run("bench", "--curve", file, "--texts", 2, "--views", 1, "--repeats", 1)
    assert (said.code, said.err) == (0, "")
    assert "reads 224 word pieces" in said.out
    curve = json.loads(file.read_text(encoding="utf-8"))
    assert [point["texts"] for point in curve["by_texts"]] == [2]
    assert [point["pieces"] for point in curve["by_length"]] == [16, 32, 64, 128, 224]


def test_storage_is_measured_shown_and_written(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "storage.json"
    said = run("bench", "--storage", "--documents", 100, "--repeats", 1, "--json", file)
    assert said.code == 0
    assert "given vectors of 384 numbers; up to 200 queries" in said.out
    assert "adding a view to 10 documents takes" in said.out
    report = json.loads(file.read_text(encoding="utf-8"))
    assert (report["documents"], report["dimension"], report["queries"]) == (100, 384, 200)
    assert report["backfill"]["model"] == "inbedder-minilm"
    for ratio in report["ratios"]:
        assert f"as fast as {ratio['store']}" in said.out
    assert len(report["ratios"]) + len(report["missing"]) == 5
    for name, why in report["missing"].items():
        assert f"left out: {name}: {why}\n" in said.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--device abacus", "abacus"),
        ("--backend abacus", "no 'abacus'"),
        ("--precision int3", "no 'int3'"),
        ("--backend onnx --precision bfloat16", "bfloat16"),
        ("--backend torch --precision int8", "int8"),
        ("--model abacus", "no model 'abacus'"),
        ("--words 0", "--words is '0'; write a number"),
        ("--words 9-3", "smaller first"),
        ("--words many", "--words is 'many'"),
        ("--texts 0", "--texts.*equal to 1"),
        ("--repeats 0", "--repeats.*equal to 1"),
        ("--views 0", "--views.*equal to 1"),
        ("--views 65", "--views.*equal to 64"),
        ("--file missing.txt", r"missing\.txt cannot be read"),
        ("--file empty.txt", "holds no text"),
        ("--file empty.txt --words 5", "--words is for texts that are made"),
        ("--curve c.json --words 5", "makes its own texts"),
        ("--curve c.json --json b.json", "leave --json out"),
        ("--json missing/b.json", "--json missing/b.json is in a folder that does not exist"),
        ("--curve .", "--curve . is a folder"),
        ("--documents 500", "--documents is for --storage"),
        ("--storage --documents 99", "--documents.*100"),
        ("--storage --texts 5", "--texts is not for --storage"),
        ("--storage --curve c.json", "--curve is not for --storage"),
        ("--storage --device cuda", "--device is not for --storage"),
        ("--storage --compiled", "--compiled is not for --storage"),
        ("--storage --json missing/s.json", "in a folder that does not exist"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_measured(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n \n", encoding="utf-8")
    refused(run("bench", *options.split()), message)
