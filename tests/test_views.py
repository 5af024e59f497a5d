from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inbedder_retrieval import GENERAL, View, ViewError, Views

FEELING = View("feeling", "How does the customer feel?")
NEED = View("need", "What does the customer need?")


@pytest.mark.parametrize(
    "name",
    [
        "feeling",
        "a",
        "2nd",
        "what they need",
        "v1.0-beta_2",
        "Gefühl",
        "感情",
        "чувство",
        "भावना",
        "ความรู้สึก",
        "e\u0301tat",
        "x" * 64,
    ],
)
def test_a_name_may_be_of_any_script(name: str) -> None:
    assert View(name, "How?").name == name


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "-a", ".a", "a/b", "a=b", "a\n", "a\tb", "a\0", "😀", "x" * 65]
)
def test_a_name_of_other_characters_is_refused(name: str) -> None:
    with pytest.raises(ViewError, match="a name is 1 to 64 letters"):
        View(name, "How?")


@pytest.mark.parametrize("question", ["", "  ", "\n\t"])
def test_a_question_holds_some_text(question: str) -> None:
    with pytest.raises(ViewError, match="must hold some text"):
        View("feeling", question)


def test_a_question_cut_inside_an_emoji_is_refused() -> None:
    with pytest.raises(ViewError, match=r"lone surrogate U\+D83D"):
        View("feeling", "How \ud83d?")


def test_only_the_general_view_goes_without_a_question() -> None:
    assert View("general", None) == GENERAL
    with pytest.raises(ViewError, match="'feeling' has no question"):
        View("feeling", None)
    with pytest.raises(ViewError, match="'general' takes no question"):
        View("general", "What is it about?")


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("feeling=How does the customer feel?", FEELING),
        (" feeling = How does the customer feel? ", FEELING),
        ("sum=Is a=b?", View("sum", "Is a=b?")),
        ("general", GENERAL),
        (" general ", GENERAL),
    ],
)
def test_a_view_is_read_from_a_command_line(typed: str, wanted: View) -> None:
    assert View.parse(typed) == wanted


@pytest.mark.parametrize("typed", ["", "feeling", "feeling=", "=How?", "general=", "general=How?"])
def test_half_a_view_on_a_command_line_is_refused(typed: str) -> None:
    with pytest.raises(ViewError):
        View.parse(typed)


def test_views_are_made_of_whatever_holds_views() -> None:
    wanted = Views([FEELING, NEED])
    assert Views.of(wanted) is wanted
    assert Views.of([FEELING, NEED]) == wanted
    assert Views.of(view for view in (FEELING, NEED)) == wanted
    assert Views.of({FEELING.name: FEELING.instruction, NEED.name: NEED.instruction}) == wanted
    assert Views.of(NEED) == Views([NEED])
    assert Views.of({"general": None}) == Views([GENERAL])


def test_views_keep_their_order_and_are_found_by_name_and_place() -> None:
    views = Views([NEED, GENERAL, FEELING])
    assert views.names == ["need", "general", "feeling"]
    assert list(views) == [NEED, GENERAL, FEELING]
    assert (views[1], views["feeling"], views[:2]) == (GENERAL, FEELING, Views([NEED, GENERAL]))
    assert views != Views([FEELING, NEED, GENERAL])
    assert hash(views) == hash(Views([NEED, GENERAL, FEELING]))
    with pytest.raises(KeyError, match="product"):
        views["product"]


def test_no_view_at_all_is_refused() -> None:
    with pytest.raises(ViewError, match="no view was given"):
        Views([])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ViewError, match="'feeling' is given twice"):
        Views([FEELING, NEED, View("feeling", "Angry?")])


@pytest.mark.parametrize("given_", ["feeling", ["feeling"], [("feeling", "How?")], [None]])
def test_what_is_no_view_is_refused(given_: object) -> None:
    with pytest.raises(ViewError, match="give View objects, or a mapping"):
        Views.of(given_)  # type: ignore[arg-type]


NAMES = st.text("abzü感0_-. ", min_size=1, max_size=8).filter(
    lambda name: name[0] not in " -." and name[-1] != " "
)
QUESTIONS = st.text(min_size=1, max_size=20).filter(lambda question: bool(question.strip()))


@pytest.mark.parametrize("ending", ["toml", "json"])
@settings(max_examples=50, deadline=None)
@given(table=st.dictionaries(NAMES, QUESTIONS, min_size=1, max_size=4), general=st.booleans())
def test_any_views_come_back_from_a_file(
    tmp_path_factory: pytest.TempPathFactory, ending: str, table: dict[str, str], general: bool
) -> None:
    views = Views([*[GENERAL][: int(general)], *(View(name, table[name]) for name in table)])
    path = tmp_path_factory.getbasetemp() / f"views.{ending}"
    views.dump(path)
    assert Views.load(path) == views


@pytest.mark.parametrize("ending", ["toml", "json"])
def test_a_question_with_an_emoji_comes_back_from_a_file(tmp_path: Path, ending: str) -> None:
    views = Views([View("feeling", "Is it 😀 or 😡?")])
    views.dump(tmp_path / f"views.{ending}")
    assert Views.load(tmp_path / f"views.{ending}") == views


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "[views]\ngeneral = true\nfeeling = 'How does the customer feel?'\n"),
        ("a.json", '{"views": {"general": true, "feeling": "How does the customer feel?"}}'),
    ],
)
def test_a_file_written_by_hand_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert Views.load(tmp_path / name) == Views([GENERAL, FEELING])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.toml", b"[views\n", "cannot be read"),
        ("a.json", b"{", "cannot be read"),
        ("a.json", b'{"views": {"a": "\xff"}}', "cannot be read"),
        ("a.json", b"[1]", "holds no table 'views'"),
        ("a.json", b'{"feeling": "How?"}', "holds no table 'views'"),
        ("a.toml", b"views = ['How?']", "holds no table 'views'"),
        ("a.json", b'{"views": {}}', "no view was given"),
        ("a.toml", b"[views]\nfeeling = true", "must hold some text"),
        ("a.toml", b"[views]\nfeeling = 3", "must hold some text"),
        ("a.toml", b"[views]\ngeneral = 'How?'", "takes no question"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ViewError, match=message):
        Views.load(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ViewError, match=r"absent\.toml cannot be read"):
        Views.load(tmp_path / "absent.toml")


def test_a_json_file_is_written_for_people_to_read(tmp_path: Path) -> None:
    Views([GENERAL, View("gefühl", "Wie fühlt es sich an?")]).dump(tmp_path / "a.json")
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "Wie fühlt es sich an?" in text
    assert json.loads(text) == {"views": {"general": True, "gefühl": "Wie fühlt es sich an?"}}
