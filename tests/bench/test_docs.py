"""The scripts that write tables and plots, on figures made up by hand."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from inbedder_retrieval.bench.curve import Curve, Point
from tests.bench.test_figures import MACHINE, report
from tests.bench.test_storage import made_up

ROOT = Path(__file__).parents[2]


def script(name: str) -> Callable[[list[str]], None]:
    found: Callable[[list[str]], None] = runpy.run_path(str(ROOT / "docs" / name))["main"]
    return found


def test_the_performance_table_is_made_from_the_report(tmp_path: Path) -> None:
    figures, page = tmp_path / "bench.json", tmp_path / "README.md"
    figures.write_text(report(2000.0).model_dump_json(), encoding="utf-8")
    page.write_text("a\n<!-- performance -->\nold\n<!-- /performance -->\nz\n", encoding="utf-8")
    for _ in range(2):
        script("performance.py")([str(figures), "--into", str(page)])
        text = page.read_text(encoding="utf-8")
        assert text.startswith("a\n<!-- performance -->\n2 cores of a processor, Linux; m as ")
        assert text.endswith("<!-- /performance -->\nz\n")
        assert text.count("| this package, float32 | 1 | 5.0 | 5 | 300 |  |  | 25% |") == 1
        assert "| slow, float32 | 8 | 0.1 | 1 | 38 |  | 20.0 x as fast |  |" in text
        assert "old" not in text


def test_the_cost_curve_is_drawn_and_its_points_listed(tmp_path: Path) -> None:
    points = [
        Point(questions=q, pieces=64, texts=10, tokens=100 * q, seconds=q / 2, peak_mib=99.6)
        for q in (1, 8)
    ]
    curve = Curve(
        machine=MACHINE,
        model="m",
        runtime="onnx int8",
        longest=224,
        by_questions=points,
        by_length=points,
        by_texts=points[:1],
    )
    figures, page = tmp_path / "curve.json", tmp_path / "cost.md"
    figures.write_text(curve.model_dump_json(), encoding="utf-8")
    page.write_text("a\n<!-- cost -->\nold\n<!-- /cost -->\nz\n", encoding="utf-8")
    script("cost.py")([str(figures), "--into", str(tmp_path)])
    text = page.read_text(encoding="utf-8")
    assert text.startswith("a\n<!-- cost -->\n2 cores of a processor")
    assert text.endswith("<!-- /cost -->\nz\n")
    assert "reads 224 word pieces" in text
    assert text.count("| 8 | 64 | 10 | 800 | 4.000 | 5000.00 | 100 |") == 2
    assert ElementTree.parse(tmp_path / "cost.svg").getroot().tag.endswith("svg")


def test_the_tables_of_storage_are_made_from_the_report(tmp_path: Path) -> None:
    figures, page = tmp_path / "storage.json", tmp_path / "storage.md"
    figures.write_text(made_up().model_dump_json(), encoding="utf-8")
    page.write_text("a\n<!-- storage -->\nold\n<!-- /storage -->\nz\n", encoding="utf-8")
    for _ in range(2):
        script("storage.py")([str(figures), "--into", str(page)])
        text = page.read_text(encoding="utf-8")
        assert text.startswith("a\n<!-- storage -->\n2 cores of a processor")
        assert text.endswith("<!-- /storage -->\nz\n")
        assert text.count("| this package | edge | 1,000 | 3 | 500 | 1,500 | 0.50 |") == 1
        assert "| this package: one view, optimized | 1,000 | 0.50 | 1.00 | 1.000 |" in text
        assert "| as fast as other | 100 | 30.00 x | 3.00 x | 10.00 x | 4.00 x |" in text
        assert "- A view added to 7 documents: 1.10 x the time of embedding them" in text
        assert "old" not in text


@pytest.mark.parametrize(
    ("name", "page"),
    [("performance", "README.md"), ("cost", "docs/cost.md"), ("storage", "docs/storage.md")],
)
def test_the_pages_have_the_places_to_write_in(name: str, page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1


def test_a_page_without_the_place_is_left_alone(tmp_path: Path) -> None:
    figures, page = tmp_path / "bench.json", tmp_path / "README.md"
    figures.write_text(report(None).model_dump_json(), encoding="utf-8")
    page.write_text("nothing here\n", encoding="utf-8")
    with pytest.raises(SystemExit, match="<!-- performance -->"):
        script("performance.py")([str(figures), "--into", str(page)])
    assert page.read_text(encoding="utf-8") == "nothing here\n"
