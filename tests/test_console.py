from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from rich.console import Console

from inbedder_retrieval import Hit, IndexReport
from inbedder_retrieval.console import (
    ask,
    complain,
    out,
    print_hit,
    print_hits,
    print_json,
    print_report,
    progress_bar,
)
from inbedder_retrieval.sources import Scan

WIDTH = 80


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """A window of 80 columns, whatever the tests are run in."""
    before = out.size
    out.size = before._replace(width=WIDTH)
    yield
    out.size = before


def hit(text: str, **metadata: object) -> Hit:
    return Hit(id="7", text=text, metadata=metadata, score=0.5, scores={"feeling": 0.5})


@pytest.mark.parametrize(
    "text",
    [
        "[bold]not a heading[/bold]",
        "[/]",
        "[red]",
        "love it :heart: so much",
        "saved in C:\\",
        "two \\\\ of them \\[",
        "grün, 日本語, \U0001f600",
    ],
)
def test_a_text_is_shown_as_it_is(capsys: pytest.CaptureFixture[str], text: str) -> None:
    print_hit(hit(text, note=text))
    first, second = capsys.readouterr().out.splitlines()
    assert first == f" 0.500  {text}"
    assert second == f"        id=7 note={text}"


@pytest.mark.parametrize("nasty", ["a\x1b[31mb", "a\x9b31mb", "a\x07b", "a\rb", "a\x00b"])
def test_no_text_can_command_the_terminal(capsys: pytest.CaptureFixture[str], nasty: str) -> None:
    print_hit(hit(nasty, note=nasty))
    complain(f"the file {nasty} is missing")
    shown = "".join(capsys.readouterr()).replace("\n", "")
    assert shown.isprintable()


@pytest.mark.parametrize(
    "text", ["word " * 100, "x" * 500, "two\nlines\r\n\tand a tab", "日本語の文章です。" * 20]
)
def test_a_text_takes_one_line_of_the_terminal(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    print_hit(hit(text))
    first, _ = capsys.readouterr().out.splitlines()
    assert first[8:12] == text[:4].replace("\n", " ")
    assert cell_len(first) <= WIDTH


@pytest.mark.parametrize("note", ["two\nlines", "long " * 1_000])
def test_metadata_does_not_spread_over_the_screen(
    capsys: pytest.CaptureFixture[str], note: str
) -> None:
    print_hit(hit("a", note=note))
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) == 2
    assert len(shown) < 10 * WIDTH


def test_metadata_is_shown_as_json_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_hit(hit("a", new=True, old=False, none=None, n=1.5, tags=["größe", True]))
    shown = capsys.readouterr().out.splitlines()[1].strip()
    assert shown == 'id=7 new=true old=false none=null n=1.5 tags=["größe", true]'


def test_a_report_counts_only_what_happened_and_names_three_bad_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = IndexReport(added=2, unchanged=3, duplicates=4, truncated=5, empty=6)
    print_report(report, Scan(bad=[f"[row] {number}" for number in range(7)]), 1.25)
    shown = capsys.readouterr()
    assert shown.out == "2 added, 3 unchanged in 1.2 s\n"
    remarks = shown.err.splitlines()
    assert [re.findall(r"\d+", remark) for remark in remarks[:3]] == [["4"], ["5"], ["6"]]
    assert remarks[3:6] == [f"passed over: [row] {number}" for number in range(3)]
    assert re.findall(r"\d+", remarks[6]) == ["7"]


def test_one_is_not_spoken_of_as_many(capsys: pytest.CaptureFixture[str]) -> None:
    report = IndexReport(added=1, duplicates=1, truncated=1, empty=1)
    print_report(report, Scan(bad=["line 7"]), 1.0)
    remarks = capsys.readouterr().err
    assert remarks.count("1") == 4
    assert not re.search(r"\b1 (texts|rows)\b", remarks)


def test_a_complaint_takes_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    complain("[/] could not\n  read :warning:\r\n" + "it " * 200 + "\\")
    shown = capsys.readouterr()
    expected = "error: [/] could not read :warning: " + "it " * 200 + "\\\n"
    assert (shown.out, shown.err) == ("", expected)


def test_json_is_one_line_and_keeps_every_character(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": "[b] :heart: 日本語\n\u2028\x1b\\", "n": [1.5, None, True]}
    print_json(value)
    shown = capsys.readouterr().out
    assert shown.endswith("}\n")
    assert shown.count("\n") == 1
    assert json.loads(shown) == value


@pytest.mark.parametrize("quiet", [True, False])
def test_progress_leaves_nothing_in_a_log_file(
    capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    with progress_bar("indexing", 2, quiet=quiet) as move:
        move(1)
        move(2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("y\n", True),
        (" YES \n", True),
        ("n\n", False),
        ("\n", False),
        ("yesterday\n", False),
        ("", False),
    ],
)
def test_an_answer_is_no_unless_it_is_yes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, typed: str, answer: bool
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert ask("Delete [b]2[/b] documents?") is answer
    assert capsys.readouterr() == ("", "Delete [b]2[/b] documents? [y/N] ")


def test_a_heading_stands_above_each_group_and_none_where_there_are_no_groups(
    capsys: pytest.CaptureFixture[str],
) -> None:
    groups: list[str | int] = ["[b]lamp[/b]", "[b]lamp[/b]", 1, "1"]
    print_hits([hit("a").model_copy(update={"group": group}) for group in groups])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["[b]lamp[/b]", "1", "1"]
    print_hits([hit("a"), hit("b")])
    assert all(line.startswith(" ") for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_shows_rate_and_time_left_within_the_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    monkeypatch.setattr("inbedder_retrieval.console.err", screen)
    with progress_bar("embedding", 1_000_000) as move:
        move(0)
        move(500_000, 600_000)
    assert isinstance(screen.file, io.StringIO)
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", screen.file.getvalue())
    frames = [frame for frame in re.split(r"[\r\n]+", shown) if frame.strip()]
    assert re.search(r"500000/600000 [\d,]+/s \d+:\d\d:\d\d left ", frames[-1])
    assert max(cell_len(frame) for frame in frames) <= width
