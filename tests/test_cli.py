from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from inbedder_retrieval import GENERAL, Embedder, Embeddings, ViewCollection, Views
from inbedder_retrieval.cli import main
from tests.conftest import write_jsonl

FEELING = "feeling=How does the customer feel?"
NEED = "need=What does the customer need?"
VIEWS = ["--view", "general", "--view", FEELING, "--view", NEED]
QUESTIONS = Views.of(
    {
        "general": None,
        "feeling": "How does the customer feel?",
        "need": "What does the customer need?",
    }
)
QUERY = "I am furious, this phone never worked. Give me my money back!"
HAPPENED = ["arrived broken and I am furious", "is wonderful", "never came and I worry", "is odd"]
ROWS: list[dict[str, object]] = [
    {
        "id": f"r{number}",
        "text": f"My {product} {what}. Please send me {wanted}.",
        "product": product,
        "price": 2.5 * number,
        "new": number % 2 == 0,
    }
    for number, (product, what, wanted) in enumerate(
        (product, what, wanted)
        for product in ("phone", "lamp", "chair", "bike", "kettle")
        for what in HAPPENED
        for wanted in ("a refund", "an invoice")
    )
]
TEXTS = [str(row["text"]) for row in ROWS]


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*argv: object) -> Said:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("source") / "rows.jsonl", ROWS)


@pytest.fixture(scope="module")
def indexed(source: Path) -> Path:
    """The rows, indexed. Do not write to it."""
    location = source.parent / "rows.inb"
    assert main(["index", str(source), "--to", str(location), *VIEWS]) == 0
    return location


@pytest.fixture(scope="module")
def expected(packaged: Embedder) -> Embeddings:
    return packaged.embed(TEXTS, QUESTIONS)


def stored(location: Path) -> int:
    with ViewCollection.open(location) as collection:
        return collection.count()


def refused(said: Said, message: str) -> None:
    """Bad input: exit code 2, and one line that says what is wrong."""
    assert said.out == ""
    assert re.fullmatch(r"error: [^\n]+\n", said.err), said.err
    assert re.search(message, said.err), said.err
    assert said.code == 2


def test_indexing_again_writes_nothing_and_says_so(run: Run, source: Path, tmp_path: Path) -> None:
    location = tmp_path / "c.inb"
    first = run("index", source, "--to", location, *VIEWS)
    assert first.code == 0
    assert first.out.startswith("40 added in ")
    assert f"{location} holds 40 documents under general, feeling, need." in first.out
    again = run("index", source, "--to", location)
    assert again.code == 0
    assert again.out.startswith("40 unchanged in ")
    assert "Nothing was written" in again.out
    assert stored(location) == 40


def test_indexing_an_edited_file_writes_what_changed(
    run: Run, source: Path, indexed: Path, tmp_path: Path
) -> None:
    location = shutil.copytree(indexed, tmp_path / "c.inb")
    rows = [dict(row) for row in ROWS]
    rows[3]["text"] = "Another text."
    rows[5]["price"] = 99
    rows += [{"id": "new", "text": "New here."}, {"id": "r7", "text": "Again, and this counts."}]
    edited = write_jsonl(tmp_path / "edited.jsonl", rows)
    report = json.loads(run("index", edited, "--to", location, "--json").out)
    counts = {"added": 1, "updated": 2, "relabelled": 1, "unchanged": 37, "duplicates": 1}
    assert {key: report[key] for key in counts} == counts
    assert report["documents"] == 41
    with ViewCollection.open(location) as collection:
        found = collection.get(["r3", "r5", "r7"])
    assert [document.text for document in found] == [
        "Another text.",
        TEXTS[5],
        "Again, and this counts.",
    ]
    assert found[1].metadata["price"] == 99


@pytest.mark.parametrize("weights", [{"feeling": 1.0}, {"feeling": 0.7, "need": 0.3}])
def test_search_finds_the_nearest_by_weighted_cosine(
    run: Run, indexed: Path, packaged: Embedder, expected: Embeddings, weights: dict[str, float]
) -> None:
    query = packaged.embed([QUERY], [QUESTIONS[name] for name in weights])
    cosines = {name: expected[name] @ query[name][0] for name in weights}
    scores = np.sum([weight * cosines[name] for name, weight in weights.items()], axis=0)
    best = np.argsort(-scores)[:5]
    options = [
        part for name, weight in weights.items() for part in ("--view", f"{name}={weight:g}")
    ]
    said = run("search", indexed, QUERY, *options, "--top", 5, "--json")
    hits = json.loads(said.out)
    assert (said.code, said.err) == (0, "")
    np.testing.assert_allclose([hit["score"] for hit in hits], scores[best], atol=1e-4)
    for hit in hits:
        row = int(hit["id"][1:])
        assert hit["text"] == TEXTS[row]
        assert hit["metadata"] == {key: ROWS[row][key] for key in ("product", "price", "new")}
        assert hit["score"] == pytest.approx(scores[row], abs=1e-4)
        assert hit["scores"] == {
            name: pytest.approx(cosine[row], abs=1e-4) for name, cosine in cosines.items()
        }
        assert [len(words) for words in hit["answers"].values()] == [3] * len(weights)


def test_search_shows_hits_with_their_answers_and_metadata(run: Run, indexed: Path) -> None:
    options = ["--view", "feeling", "--top", 2]
    [best, second] = json.loads(run("search", indexed, QUERY, *options, "--json").out)
    lines = run("search", indexed, QUERY, *options).out.splitlines()
    assert lines[0] == f"{best['score']:6.3f}  {best['text']}"
    assert lines[1].startswith(f"        feeling: {best['answers']['feeling'][0]['word']}")
    assert f"id={best['id']} product={best['metadata']['product']}" in lines[1]
    assert lines[2] == f"{second['score']:6.3f}  {second['text']}"
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        (["product=phone"], lambda row: row["product"] == "phone"),
        (
            ["product!=phone", "price<50"],
            lambda row: row["product"] != "phone" and row["price"] < 50,
        ),
        (["new=true", "price>=90"], lambda row: row["new"] and row["price"] >= 90),
        (["new=false"], lambda row: not row["new"]),
    ],
)
def test_search_keeps_to_conditions_that_must_all_hold(
    run: Run, indexed: Path, conditions: list[str], holds: Callable[[dict[str, Any]], bool]
) -> None:
    options = [part for condition in conditions for part in ("--where", condition)]
    said = run("search", indexed, QUERY, "-v", "general", "--top", 40, *options, "--json")
    assert {hit["id"] for hit in json.loads(said.out)} == {row["id"] for row in ROWS if holds(row)}


def test_a_column_name_may_hold_a_space(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("text,Ship mode\none,air\ntwo,sea\n", encoding="utf-8")
    location = tmp_path / "orders.inb"
    assert run("index", path, "--to", location, "--view", "general").code == 0
    said = run("search", location, "one", "--where", "Ship mode=sea", "--json")
    assert [hit["text"] for hit in json.loads(said.out)] == ["two"]


def test_a_search_that_finds_nothing_says_so(run: Run, indexed: Path) -> None:
    said = run("search", indexed, QUERY, "--view", "general", "--where", "product=zebra")
    assert said == Said(0, "", "nothing found that fits --where\n")
    said = run("search", indexed, QUERY, "--view", "general", "--where", "product=zebra", "--json")
    assert said == Said(0, "[]\n", "")


def test_views_and_info_describe_the_collection(run: Run, indexed: Path) -> None:
    lines = run("views", "list", indexed).out.splitlines()
    assert [line.split()[0] for line in lines] == QUESTIONS.names
    assert lines[1].endswith("  How does the customer feel?")
    views = json.loads(run("views", "list", indexed, "--json").out)
    assert [(view["name"], view["instruction"], view["dimension"]) for view in views] == [
        (view.name, view.instruction, 384) for view in QUESTIONS
    ]
    info = json.loads(run("info", indexed, "--json").out)
    assert (info["location"], info["documents"]) == (str(indexed), 40)
    assert info["views"] == views
    shown = run("info", indexed).out
    assert re.search(r"^documents +40$", shown, re.MULTILINE)
    assert re.search(r"^views +general, feeling, need$", shown, re.MULTILINE)


def test_embed_writes_the_vectors_of_the_library(
    run: Run, source: Path, tmp_path: Path, expected: Embeddings
) -> None:
    path = tmp_path / "vectors.npz"
    said = run("embed", source, "--out", path, *VIEWS)
    assert said.code == 0
    assert "40 texts x 3 views x 384 numbers" in said.out
    with np.load(path) as arrays:
        assert list(arrays) == ["ids", *QUESTIONS.names]
        assert arrays["ids"].tolist() == [row["id"] for row in ROWS]
        for name in QUESTIONS.names:
            assert arrays[name].dtype == np.float32
            np.testing.assert_allclose(arrays[name], expected[name], atol=1e-6)


@pytest.mark.parametrize("name", ["file", "arr_0", "allow_pickle", "self"])
def test_any_view_name_can_be_embedded(run: Run, tmp_path: Path, name: str) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": "a"}])
    path = tmp_path / "v.npz"
    assert run("embed", source, "--out", path, "--view", f"{name}=What is it?").code == 0
    with np.load(path) as arrays:
        assert arrays[name].shape == (1, 384)


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


def test_explain_shows_the_answer_words_heaviest_first(run: Run, packaged: Embedder) -> None:
    asked = {name: QUESTIONS[name].instruction for name in ("feeling", "need")}
    said = run("explain", QUERY, "--view", FEELING, "--view", NEED, "--top", 4, "--json")
    found = json.loads(said.out)
    vectors = packaged.embed([QUERY], asked)
    assert list(found) == list(asked)
    for name, words in found.items():
        weights = [word["weight"] for word in words]
        assert len(words) == 4
        assert weights == sorted(weights, reverse=True)
        assert 0 < sum(weights) <= 1
        [answers] = packaged.explain(vectors[name], top=4)
        assert [word["word"] for word in words] == [answer.word for answer in answers]
    assert found["feeling"][0]["word"] in {"anger", "angry", "annoyed", "frustration", "furious"}
    shown = run("explain", QUERY, "--view", FEELING, "--view", NEED, "--top", 4).out
    shares = [float(share) for share in re.findall(r"^ +([\d.]+)%  \w", shown, re.MULTILINE)]
    assert shares == [
        pytest.approx(100 * word["weight"], abs=0.06) for words in found.values() for word in words
    ]


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
        ("index plain.txt", "no collection at c.inb.*feeling="),
        ("index plain.txt --view a=x? --view a=y?", "'a' is given twice"),
        ("index plain.txt --view a=", "must hold some text"),
        ("index plain.txt --view a/b=x?", "named 'a/b'"),
        ("index plain.txt --view a", "write name=question"),
        (f"index plain.txt --view a={'why_' * 200}", "Shorten it"),
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
        (["search", "{c}"], "Missing argument 'query'"),
        (["search"], "Missing argument 'location'"),
        (["search", "nowhere.inb", QUERY], "no collection at nowhere.inb"),
        (["search", "{folder}", QUERY], "is not a collection"),
        (["search", "{source}", QUERY], "is not a collection"),
        (["search", ":memory:", QUERY], ":memory:"),
        (["info", "nowhere.inb"], "no collection at nowhere.inb"),
        (["views", "list", "nowhere.inb"], "no collection at nowhere.inb"),
        (["views", "drop", "{c}"], "'drop'"),
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
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": "short"}, {"text": "word " * 300}])
    location = tmp_path / "c.inb"
    options = ["--to", location, "--view", "general"]
    refused(run("index", source, *options, "--on-long", "error"), r"text 1 has more than the 224")
    said = run("index", source, *options)
    assert said.code == 0
    assert "longer than the model reads" in said.err
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


@pytest.mark.parametrize("name", ["my[red]notes.inb", "a[bold].inb", "see:heart:.inb"])
def test_a_name_is_shown_as_it_is(run: Run, source: Path, tmp_path: Path, name: str) -> None:
    location = tmp_path / name
    said = run("index", source, "--to", location, "--view", "general", "--json")
    assert said.code == 0
    said = run("index", source, "--to", location)
    assert f"{location} holds 40 documents" in said.out
    npz = location.with_suffix(".npz")
    assert f"{npz}: 40 texts" in run("embed", source, "--out", npz, "--view", "general").out


def test_a_name_may_look_like_a_closing_tag(run: Run, source: Path, tmp_path: Path) -> None:
    (tmp_path / "a[").mkdir()
    location = tmp_path / "a[" / "b].inb"
    assert run("index", source, "--to", location, "--view", "general").code == 0


def test_a_server_that_does_not_answer_is_exit_code_1(run: Run) -> None:
    said = run("info", "http://127.0.0.1:1/rows")
    assert said.code == 1
    assert re.fullmatch(r"error: [^\n]*no Qdrant server answers at [^\n]+\n", said.err)


@pytest.mark.parametrize(
    ("argv", "commands"),
    [
        ([], ["demo", "index", "search", "embed", "explain", "info", "export", "views"]),
        (["--help"], ["index", "search"]),
        (["views"], ["list"]),
    ],
)
def test_help_lists_the_commands(run: Run, argv: list[str], commands: list[str]) -> None:
    said = run(*argv)
    assert (said.code, said.err) == (0, "")
    for command in commands:
        assert re.search(rf"^ +{command} ", said.out, re.MULTILINE)


def shell(*argv: object, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inbedder_retrieval", *map(str, argv)],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | environment,
        check=False,
    )


@pytest.mark.parametrize(
    "stdin", ['{"id": 1, "text": "grün"}\n\n{"id": 2, "text": "b"}\n', "grün\n\n b \n"]
)
def test_the_command_reads_standard_input(tmp_path: Path, stdin: str) -> None:
    done = shell("index", "-", "--to", tmp_path / "c.inb", "--view", "general", stdin=stdin)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    with ViewCollection.open(tmp_path / "c.inb") as collection:
        assert {hit.text for hit in collection.search("a")} == {"grün", "b"}


def test_the_exit_code_of_the_process_tells_bad_input(tmp_path: Path) -> None:
    done = shell("index", "-", "--to", tmp_path / "c.inb", "--view", "general", stdin="\n")
    refused(Said(done.returncode, done.stdout, done.stderr), "standard input holds no text")


@pytest.mark.parametrize("form", ["--json", "--words=0"])
def test_a_terminal_that_lacks_a_character_is_no_reason_to_fail(tmp_path: Path, form: str) -> None:
    """Windows redirects into a file as cp1252."""
    text = "happy \U0001f600 日本語"
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text}])
    assert main(["index", str(source), "--to", str(tmp_path / "c.inb"), "--view", "general"]) == 0
    done = shell("search", tmp_path / "c.inb", "happy", form, PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stderr) == (0, "")
    if form == "--json":
        assert json.loads(done.stdout)[0]["text"] == text


@pytest.mark.skipif(os.name == "nt", reason="there are no terminals and signals like these")
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_an_interrupted_index_is_finished_by_the_same_command(
    run: Run, tmp_path: Path, how: str
) -> None:
    import pty

    total = 2_000
    source = write_jsonl(
        tmp_path / "a.jsonl", [{"id": k, "text": f"note {k} of many"} for k in range(total)]
    )
    argv = ["index", str(source), "--to", str(tmp_path / "c.inb"), "--view", "general"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "inbedder_retrieval", *argv],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    while f"512/{total}".encode() not in (shown := os.read(ours, 4096)):
        pass
    process.send_signal(getattr(signal, how))
    with suppress(OSError):  # A terminal without a process has no end of file, but an error.
        while block := os.read(ours, 4096):
            shown += block
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert out == b""
    if how == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        said = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown.decode(errors="replace"))
        assert said.rstrip().splitlines()[-1].startswith("error: interrupted; ")
        assert said.count("error:") == 1
        assert "Traceback" not in said
    report = json.loads(run(*argv, "--json").out)
    assert report["added"] + report["unchanged"] == total
    assert report["unchanged"] >= 512
    assert report["added"] > 0
    assert report["documents"] == stored(tmp_path / "c.inb") == total
