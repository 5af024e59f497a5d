"""The script that writes the tables of docs/evaluation.md, on figures made up by hand."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.evaluation.test_page import made_report

DOCS = Path(__file__).parents[2] / "docs"
PARTS = ("scores", "across", "clusters", "robustness")


def run(folder: Path) -> str:
    figures = folder / "scores.json"
    figures.write_text(made_report().model_dump_json(), encoding="utf-8")
    script = runpy.run_path(str(DOCS / "evaluation.py"))["main"]
    script([str(figures), str(figures), "--into", str(folder)])
    return (folder / "evaluation.md").read_text(encoding="utf-8")


def test_the_tables_are_made_from_the_reports(tmp_path: Path) -> None:
    empty = "".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in PARTS)
    (tmp_path / "evaluation.md").write_text(f"a\n{empty}z\n", encoding="utf-8")
    assert run(tmp_path) == run(tmp_path)
    text = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    assert text.startswith("a\n<!-- scores -->\nm as onnx. MiniBatchKMeans. numpy 2.0.\n")
    assert text.endswith("<!-- /robustness -->\nz\n")
    assert "old" not in text
    for row in (
        "| <news> | V-measure | 1,234 | 48.0 ± 2.5 |  |",
        "| ... one fit |  |  | 47.0 |  |",
        "| sts | Spearman of cosine | 1,234 |  | -3.3 |",
        "| topic | 60.0 | 5.0 |",
        "| sport, ball | 3 |  |",
        "| <news>, topic | 15.0 (10.0 to 20.0) | 15.0 (10.0 to 20.0) | 15.0 (10.0 to 20.0) | -10.0 "
        "| +12.3 |",
    ):
        assert text.count(row + "\n") == 1
    assert ElementTree.parse(tmp_path / "evaluation.svg").getroot().tag.endswith("svg")


def test_the_page_has_the_places_to_write_in() -> None:
    text = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    for name in PARTS:
        assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1


def test_a_page_without_the_places_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "evaluation.md").write_text("nothing here\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="<!-- scores -->"):
        run(tmp_path)
    assert (tmp_path / "evaluation.md").read_text(encoding="utf-8") == "nothing here\n"
