from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from inbedder_retrieval.errors import MissingExtraError, SourceError
from inbedder_retrieval.evaluation.published import AWARENESS, PUBLISHED_SETS, fetch_task

# As the library of that name answers: by repository, configuration and part.
ANSWERS = """
ROWS = {
    ("BrandonZYW/IntentEmotion", "emotion"): [
        {"anchor": "a", "positive": "b", "negative": "c"}, {"anchor": "d", "positive": "e"}
    ],
    ("BrandonZYW/IntentEmotion", "intent"): [{"anchor": "a", "positive": "c", "negative": "b"}],
}


def load_dataset(path, name, *, split, revision):
    assert split == "test" and len(revision) == 40
    if (path, name) not in ROWS:
        raise ConnectionError("Couldn't reach the hub")
    return ROWS[path, name]
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in place of the library datasets, which would ask the network."""
    module = ModuleType("datasets")
    exec(ANSWERS, vars(module))
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_the_papers_sets_and_questions_are_known() -> None:
    assert [PUBLISHED_SETS[name].kind for name in AWARENESS] == ["csts", "triplets", "clustering"]
    asked = [part.instruction for part in PUBLISHED_SETS["intentemotion"].parts]
    assert asked == ["How does the customer feel?", "What does the customer need?"]


@pytest.mark.usefixtures("hub")
def test_a_sets_parts_become_aspects_with_their_question() -> None:
    with pytest.raises(SourceError, match=r"IntentEmotion, row 2: .*'negative'"):
        fetch_task("intentemotion")
    task = fetch_task("intentemotion", skip_bad=True)
    assert (task.kind, len(task.bad)) == ("triplets", 1)
    assert {aspect: [row.instruction for row in rows] for aspect, rows in task.aspects.items()} == {
        "emotion": ["How does the customer feel?"],
        "intent": ["What does the customer need?"],
    }


@pytest.mark.usefixtures("hub")
def test_a_hub_that_cannot_be_reached_is_said_with_a_way_out() -> None:
    with pytest.raises(SourceError, match=r"could not be fetched.*reach the hub.*--task nyt=FILE"):
        fetch_task("nyt")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"inbedder-retrieval\[mteb\]"):
        fetch_task("nyt")
    with pytest.raises(SourceError, match="no published set 'mine'"):
        fetch_task("mine")


def test_the_library_itself_says_that_it_is_offline(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    code = (
        "from inbedder_retrieval.evaluation.published import fetch_task\n"
        "from inbedder_retrieval.errors import SourceError\n"
        "try:\n    fetch_task('nyt')\nexcept SourceError as error:\n    print(error)\n"
    )
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(tmp_path),
        "HF_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert "nyt (BrandonZYW/NYTClustering) could not be fetched" in done.stdout
