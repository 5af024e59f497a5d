from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from inbedder_retrieval.evaluation.page import bars, render
from inbedder_retrieval.evaluation.scores import (
    Confusion,
    EvalReport,
    InstructionScore,
    Robustness,
    Score,
    TaskRecord,
)
from inbedder_retrieval.evaluation.show import print_eval

VOID = {"meta", "br"}


def made_report() -> EvalReport:
    """A report with one of everything, and names that are no HTML."""
    tasks = [
        TaskRecord(
            name="<news>",
            kind="clustering",
            metric="V-measure",
            source="a & b",
            rows=1234,
            instructions=2,
            bad=["line 3: <b> is broken"],
        ),
        TaskRecord(
            name="sts",
            kind="sts",
            metric="Spearman of cosine",
            source="here",
            rows=1234,
            instructions=0,
            bad=[],
        ),
    ]
    across = {"topic": {"topic": 60.0, "place": 5.0}, "place": {"topic": 7.0, "place": 40.0}}
    scores = [
        Score(
            task="<news>",
            contender="m",
            value=48.04,
            spread=2.5,
            single=47,
            parts={"topic": 60, "place": 40},
            across=across,
        ),
        Score(task="sts", contender="m, no question", value=-3.26),
    ]
    listed = [InstructionScore(instruction=f"<i{k}>", value=10.0 * k, spread=1) for k in (1, 2)]
    return EvalReport(
        model="m",
        runtime="onnx",
        versions={"numpy": "2.0"},
        clustering="MiniBatchKMeans",
        contenders=["m", "m, no question"],
        tasks=tasks,
        scores=scores,
        awareness={"m": 51.25},
        confusions=[
            Confusion(
                task="<news>",
                aspect="topic",
                contender="m",
                instruction="What <topic>?",
                labels=["a", "b"],
                counts=[[3, 1], [0, 4]],
                words=[["sport", "ball"], []],
            )
        ],
        robustness=[
            Robustness(
                task="<news>",
                aspect="topic",
                contender="m",
                correct=listed,
                implicit=listed,
                incorrect=listed,
                correct_gap=-10,
                implicit_gap=12.34,
            )
        ],
        missing={"sts, m": "it cannot"},
    )


class Tags(HTMLParser):
    """Holds that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_the_page_is_well_formed_and_needs_nothing_beside_it() -> None:
    page = render(made_report())
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert tags.open == []
    assert {"table", "svg", "circle", "rect", "details"} <= set(tags.seen)
    assert not {"script", "link", "img", "news", "i1", "b"} & set(tags.seen)
    # The one address in it is a name, and nothing is fetched.
    assert set(re.findall(r"https?://[^\"'<\s]+", page)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize(
    "shown",
    [
        "48.0 ± 2.5",
        "-3.3",
        "51.2",
        "1,234",
        "sport<br>ball",
        "What &lt;topic&gt;?",
        "gaps -10.0 (correct), +12.3 (implicit)",
        "line 3: &lt;b&gt; is broken",
        "left out: sts, m: it cannot",
        "<td>one fit</td><td></td><td></td><td>47.0</td>",
    ],
)
def test_the_page_shows_what_was_found(shown: str) -> None:
    assert shown in render(made_report())


def test_bars_are_as_long_as_the_scores() -> None:
    picture = ElementTree.fromstring(bars(made_report()))
    boxes = picture.findall("{http://www.w3.org/2000/svg}rect")
    # Two of the legend; then 48.04 of 460 points, and none for what is below 0.
    assert [float(box.attrib["width"]) for box in boxes] == [10, 10, 221.0, 0]


def test_the_terminal_shows_the_table_and_what_was_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_eval(made_report())
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert re.search(r"^<news> +V-measure +1,234 +48\.0 ± 2\.5$", out, re.MULTILINE)
    assert re.search(r"^  place +40\.0$", out, re.MULTILINE)
    assert re.search(r"^sts +Spearman of cosine +1,234 +-3\.3$", out, re.MULTILINE)
    assert re.search(r"^<news>\.topic, m( +10\.0 to 20\.0){3} +-10\.0 +\+12\.3$", out, re.MULTILINE)
    assert lines[1] == "clusters: MiniBatchKMeans"
    assert err == "passed over: line 3: <b> is broken\nleft out: sts, m: it cannot\n"
