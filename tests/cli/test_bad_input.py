"""Bad input is one line that says what to do, and changes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from inbedder_retrieval import GENERAL, ViewCollection
from tests.cli.commands import FEELING, QUERY, VIEWS, Run, refused, stored
from tests.conftest import write_jsonl


def test_embed_leaves_a_file_alone_when_it_cannot_go_on(run: Run, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}, {"text": 5}])
    out = tmp_path / "v.npz"
    out.write_bytes(b"before")
    refused(run("embed", source, "--out", out, "--view", "general"), "line 2")
    assert out.read_bytes() == b"before"


@pytest.mark.parametrize("place", ["missing/v.npz", "."])
def test_embed_says_that_a_file_cannot_be_written_before_it_begins(
    run: Run, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run("embed", source, "--out", place, "--view", "general"), re.escape(place))


LINES = {
    "broken.jsonl": '{"text": "good"}\n{"text": "bad",}\n',
    "number.jsonl": '{"text": "good"}\n{"text": 5}\n',
    "body.jsonl": '{"body": "good", "nr": 1}\n',
    "empty.jsonl": "\n",
    "plain.txt": "one\ntwo\n",
    "views.toml": '[views]\na = "x?"\n',
    "notes.doc": "",
}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("index missing.jsonl --view general", "no file or folder missing.jsonl"),
        ("index notes.doc --view general", r"a \.doc file"),
        ("index empty.jsonl --view general", "holds no text"),
        ("index broken.jsonl --view general", r"broken\.jsonl, line 2 is not JSON.*--skip-bad"),
        ("index number.jsonl --view general", "line 2: .*must be a string"),
        ("index body.jsonl --view general", r"there are 'body', 'nr'.*--text-field"),
        ("index plain.txt", "no collection at c.inb; .* --view feeling="),
        ("index plain.txt --view a=x? --view a=y?", "'a' is given twice"),
        ("index plain.txt --view a=", "must hold some text"),
        ("index plain.txt --view a/b=x?", "named 'a/b'"),
        ("index plain.txt --view a", "write name=question"),
        (f"index plain.txt --view a={'why_' * 300}", "Shorten it"),
        ("index plain.txt --view a=x? --views views.toml", "both --view and --views"),
        ("index plain.txt --views missing.toml", r"missing\.toml cannot be read"),
        ("index plain.txt --view general --on-long maybe", "choose cut or error"),
        ("index plain.txt --view general --model nothing", "no model 'nothing'.*inbedder-minilm"),
        ("index --view general", "Missing argument"),
        ("index plain.txt more.txt --view general", "unexpected extra argument"),
        ("index plain.txt --view general --fast", "--fast"),
        ("index plain.txt --view", "--view"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: str, message: str
) -> None:
    for name, content in LINES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command, *rest = argv.split()
    refused(run(command, "--to", "c.inb", *rest), message)
    assert {path.name for path in tmp_path.iterdir()} == set(LINES)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["search", "{c}", QUERY], r"several views \(general, feeling, need\)"),
        (["search", "{c}", QUERY, "--view", "mood"], "'mood'.*general, feeling, need"),
        (["search", "{c}", QUERY, "--view", "need=much"], "name=weight with a number"),
        (["search", "{c}", QUERY, "--view", "need=0"], "positive number"),
        (["search", "{c}", QUERY, "--view", "need=-1"], "positive number"),
        (["search", "{c}", QUERY, "--view", "need=nan"], "positive number"),
        (["search", "{c}", QUERY, "-v", "need", "-v", "need"], "'need' is given twice"),
        (["search", "{c}", QUERY, "--view", "need", "--where", "price"], "write field=value"),
        (["search", "{c}", QUERY, "--view", "need", "--where", "price<low"], "< needs a number"),
        (["search", "{c}", QUERY, "--view", "need", "--top", "0"], "from 1 to 10000"),
        (["search", "{c}", QUERY, "--view", "need", "--top", "few"], "--top"),
        (["search", "{c}"], "give a QUERY, --answer or --like .*see inbedder search --help"),
        (["search"], "Missing argument 'LOCATION'"),
        (["search", "{c}", " ", "--view", "need"], "the query is empty"),
        (["search", "{c}", QUERY, "--view", "need", "--where", 'a"b=x'], "write field=value"),
        (["search", "nowhere.inb", QUERY], "no collection at nowhere.inb"),
        (["search", "{folder}", QUERY], "is not a collection"),
        (["search", "{source}", QUERY], "is not a collection"),
        (["search", ":memory:", QUERY], ":memory:"),
        (["info", "nowhere.inb"], "no collection at nowhere.inb"),
        (["views", "list", "nowhere.inb"], "no collection at nowhere.inb"),
        (["views", "drop", "{c}"], "Missing argument 'NAME'"),
        (["views", "drop", "{c}", "x"], "no view 'x' here"),
        (["views", "add", "{c}"], "--view"),
        (["views", "move", "{c}"], "'move'"),
        (["indexx", "{source}"], "'indexx'"),
        (["index", "{source}", "--view", FEELING], "--to"),
        (["index", "{source}", "--to", "{c}", "--view", "need=Why?"], "'need' of .* asks"),
        (["index", "{source}", "--to", "{c}", "--view", "mood=Why?"], "has no view 'mood'"),
        (["index", "{source}", "--to", "{folder}", *VIEWS], "holds other files"),
        (["index", "{source}", "--to", "{source}", *VIEWS], "is a file"),
        (["index", "{source}", "--to", ":memory:", *VIEWS], ":memory:"),
        (["embed", "{source}", "--out", "v.npz"], 'give --view name="question"'),
        (["embed", "{source}", "--out", "v.npz", "--view", "ids=Who?"], "'ids'"),
        (["explain", QUERY], 'give --view name="question"'),
        (["explain", QUERY, "--view", "general"], "no answer words"),
        (["explain", QUERY, "--view", FEELING, "--top", "0"], "--top"),
        (["explain", "", "--view", FEELING], "the text is empty"),
        (["demo", "--query", ""], "--query is empty"),
        (["demo", "--to", "{c}"], "has no view 'product'"),
    ],
)
def test_bad_input_leaves_a_collection_as_it_is(
    run: Run,
    source: Path,
    indexed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    message: str,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.doc").write_text("mine", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    places = {"{c}": indexed, "{folder}": tmp_path / "folder", "{source}": source}
    refused(run(*(places.get(argument, argument) for argument in argv)), message)
    assert stored(indexed) == 40
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "folder",
        "folder/letter.doc",
    ]


def test_a_collection_in_use_is_refused(run: Run, source: Path, tmp_path: Path) -> None:
    location = tmp_path / "c.inb"
    with ViewCollection.create(location, GENERAL) as collection:
        refused(run("index", source, "--to", location), "held by another process")
        refused(run("search", location, QUERY), "held by another process")
        assert collection.count() == 0
    assert run("index", source, "--to", location).code == 0


def test_a_text_that_is_too_long_is_refused_where_that_was_asked(run: Run, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"id": 0, "text": "short"}, {"id": 1, "text": "word " * 300}]
    source = write_jsonl(tmp_path / "a.jsonl", rows)
    location = tmp_path / "c.inb"
    options = ["--to", location, "--view", "general"]
    said = run("index", source, *options, "--on-long", "error")
    refused(said, "document '1' is longer than .* reads .*'word word.* let long texts be cut")
    said = run("index", source, *options)
    assert said.code == 0
    assert "longer than the model reads and cut: 1 text" in said.err
    assert stored(location) == 2


def test_broken_rows_are_passed_over_and_counted_where_that_was_asked(
    run: Run, tmp_path: Path
) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "a"}\n{"text": 5}\n{"text": "b"}\n[]\n', encoding="utf-8")
    options = ["--view", "general", "--skip-bad"]
    said = run("index", source, "--to", tmp_path / "c.inb", *options)
    assert said.code == 0
    assert "passed over: " in said.err
    assert "2 rows could not be read" in said.err
    assert stored(tmp_path / "c.inb") == 2
    report = json.loads(run("index", source, "--to", tmp_path / "c.inb", *options, "--json").out)
    assert [re.findall(r"line \d", bad) for bad in report["bad"]] == [["line 2"], ["line 4"]]
    said = run("embed", source, "--out", tmp_path / "v.npz", *options, "--json")
    assert (json.loads(said.out)["texts"], len(json.loads(said.out)["bad"])) == (2, 2)


def test_a_file_of_broken_rows_only_says_what_is_wrong_with_them(run: Run, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"body": "a"}, {"body": "b"}])
    options = ["--to", tmp_path / "c.inb", "--view", "general", "--skip-bad"]
    refused(run("index", source, *options), "'body'")
    assert not (tmp_path / "c.inb").exists()


def test_an_error_that_cannot_be_skipped_does_not_offer_to(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text("text,text\na,b\n", encoding="utf-8")
    said = run("index", source, "--to", tmp_path / "c.inb", "--view", "general")
    refused(said, "named twice")
    assert "--skip-bad" not in said.err


def test_a_server_that_does_not_answer_is_exit_code_1(run: Run) -> None:
    said = run("info", "http://127.0.0.1:1/rows")
    assert said.code == 1
    assert re.fullmatch(r"error: [^\n]*no Qdrant server answers at [^\n]+\n", said.err)
