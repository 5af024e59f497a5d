"""`inbedder search` finds what the library finds, and shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inbedder_retrieval import Embedder, Embeddings, Hit, ViewCollection
from tests.cli.commands import QUERY, QUESTIONS, ROWS, TEXTS, Run, Said, refused


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


def test_a_hit_under_several_views_takes_a_line_for_each(run: Run, indexed: Path) -> None:
    options = ["--view", "feeling", "--view", "general=0.5", "--view", "need", "--top", 1]
    [hit] = json.loads(run("search", indexed, QUERY, *options, "--json").out)
    first, feeling, general, need, facts = run("search", indexed, QUERY, *options).out.splitlines()
    assert first == f"{hit['score']:6.3f}  {hit['text']}"
    for line, name in ((feeling, "feeling"), (need, "need")):
        words = ", ".join(word["word"] for word in hit["answers"][name])
        assert line == f"        {name} {hit['scores'][name]:.3f}: {words}"
    assert general == f"        general {hit['scores']['general']:.3f}"
    metadata = hit["metadata"]
    new = "true" if metadata["new"] else "false"
    assert facts.strip() == (
        f"id={hit['id']} product={metadata['product']} price={metadata['price']} new={new}"
    )


def found(run: Run, *argv: object) -> list[dict[str, Any]]:
    said = run("search", *argv, "--words", 0, "--json")
    assert (said.code, said.err) == (0, "")
    hits: list[dict[str, Any]] = json.loads(said.out)
    return hits


CASES: dict[str, tuple[list[object], Callable[[ViewCollection], list[Hit]]]] = {
    "answer": (
        ["--answer", "a refund", "-v", "need"],
        lambda c: c.search(answer="a refund", view="need"),
    ),
    "answers": (
        ["--answer", "need=a refund", "--answer", "feeling = angry"],
        lambda c: c.search(answer={"need": "a refund", "feeling": "angry"}),
    ),
    "an answer for one view": (
        ["--answer", "need=a refund"],
        lambda c: c.search(answer={"need": "a refund"}),
    ),
    "answers with weights": (
        ["--answer", "need=a refund", "--answer", "feeling=angry", "-v", "need=3", "-v", "feeling"],
        lambda c: c.search(
            answer={"need": "a refund", "feeling": "angry"}, views={"need": 3, "feeling": 1}
        ),
    ),
    "like": (["--like", "r0", "-v", "need"], lambda c: c.search(like=["r0"], view="need")),
    "unlike": (
        [QUERY, "--like", "r0", "--like", "r8", "--unlike", "r2", "-v", "feeling"],
        lambda c: c.search(QUERY, like=["r0", "r8"], unlike=["r2"], view="feeling"),
    ),
    "ranks": (
        [QUERY, "-v", "need", "-v", "feeling=2", "--fusion", "ranks"],
        lambda c: c.search(QUERY, views={"need": 1, "feeling": 2}, fusion="ranks"),
    ),
    "pages": (
        [QUERY, "-v", "need", "--offset", 3, "--top", 4],
        lambda c: c.search(QUERY, view="need", offset=3, limit=4),
    ),
    "threshold": (
        [QUERY, "-v", "feeling", "--min-score", 0.925],
        lambda c: c.search(QUERY, view="feeling", threshold=0.925),
    ),
    "diversity": (
        [QUERY, "-v", "feeling", "--diversity", 0.6],
        lambda c: c.search(QUERY, view="feeling", diversity=0.6),
    ),
    "groups": (
        [QUERY, "-v", "feeling", "--group-by", "product", "--group-size", 2, "--top", 3],
        lambda c: c.search(QUERY, view="feeling", group_by="product", group_size=2, limit=3),
    ),
    "exact": (
        [QUERY, "-v", "feeling", "--exact", "--where", "new=true"],
        lambda c: c.search(QUERY, view="feeling", exact=True, filter={"new": True}),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_option_does_what_the_library_does(run: Run, indexed: Path, case: str) -> None:
    argv, search = CASES[case]
    with ViewCollection.open(indexed) as collection:
        hits = [hit.model_dump(mode="json", exclude={"notes"}) for hit in search(collection)]
        plain = collection.search(QUERY, view="feeling")
    assert found(run, indexed, *argv) == hits
    assert hits
    assert [hit["id"] for hit in hits] != [hit.id for hit in plain]


def test_an_answer_may_hold_the_sign(run: Run, indexed: Path) -> None:
    with ViewCollection.open(indexed) as collection:
        hits = collection.search(answer="the price = 20 euros", view="need", limit=3)
    said = found(run, indexed, "--answer", "the price = 20 euros", "-v", "need", "--top", 3)
    assert [hit["id"] for hit in said] == [hit.id for hit in hits]


def test_hits_of_a_group_stand_under_its_value(run: Run, indexed: Path) -> None:
    options = [QUERY, "-v", "feeling", "--group-by", "product", "--group-size", 2, "--top", 3]
    hits = found(run, indexed, *options)
    lines = run("search", indexed, *options).out.splitlines()
    headings = [line for line in lines if not line.startswith(" ")]
    assert headings == list(dict.fromkeys(hit["group"] for hit in hits))
    assert len(headings) == 3
    for hit in hits:
        at = lines.index(f"{hit['score']:6.3f}  {hit['text']}")
        above = [line for line in lines[:at] if not line.startswith(" ")]
        assert above[-1] == hit["metadata"]["product"]


def test_ranks_are_shown_with_a_digit_more(run: Run, indexed: Path) -> None:
    options = [QUERY, "-v", "need", "-v", "feeling", "--fusion", "ranks", "--top", 3]
    hits = found(run, indexed, *options)
    shown = re.findall(r"^ *([\d.]+)  My", run("search", indexed, *options).out, re.MULTILINE)
    assert shown == [f"{hit['score']:.4f}" for hit in hits]


def test_what_limits_a_search_that_finds_nothing_is_named(run: Run, indexed: Path) -> None:
    options = ["-v", "need", "--min-score", 2, "--where", "price>=0"]
    said = run("search", indexed, QUERY, *options)
    assert said == Said(0, "", "nothing found that fits --where and --min-score\n")
    said = run("search", indexed, QUERY, "-v", "need", "--offset", 40)
    assert said == Said(0, "", "nothing found that fits --offset\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], r"nothing to look for; give a QUERY, --answer or --like .*inbedder search --help"),
        (["--unlike", "r0", "-v", "need"], "nothing to look for"),
        (["--answer", " ", "-v", "need"], "--answer is empty"),
        (["--answer", "need="], "answer for view 'need' is empty"),
        (["--answer", "mood=bad"], "no view 'mood' here; the collection has general, feeling"),
        (["--answer", "need=a", "--answer", "b"], r"write name=answer .*general, feeling, need"),
        (["--answer", "need=a", "--answer", "need=b"], "twice for view 'need'"),
        (["--answer", "need=a", "-v", "feeling"], "give an answer for each"),
        (["--like", "x9", "-v", "need"], "'x9' is to be an example, and is not stored"),
        ([QUERY, "-v", "need", "--fusion", "max"], "--fusion is 'max'; choose sum or ranks"),
        ([QUERY, "-v", "need", "--offset", "-1"], "offset"),
        ([QUERY, "-v", "need", "--offset", "9999"], "beyond 10000 hits"),
        ([QUERY, "-v", "need", "--min-score", "nan"], "threshold is nan"),
        ([QUERY, "-v", "need", "--diversity", "2"], "from 0 to 1"),
        ([QUERY, "-v", "need", "--diversity", "0.5", "--group-by", "product"], "diversity"),
        ([QUERY, "-v", "need", "--group-size", "2"], "--group-size is for --group-by"),
        ([QUERY, "-v", "need", "--group-by", "product", "--group-size", "0"], "group_size is 0"),
    ],
)
def test_options_that_do_not_go_together_say_so(
    run: Run, indexed: Path, argv: list[str], message: str
) -> None:
    refused(run("search", indexed, *argv), message)
