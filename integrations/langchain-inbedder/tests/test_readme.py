from __future__ import annotations

import doctest
import re
from pathlib import Path

FOLDER = Path(__file__).parent.parent
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def test_its_code_runs_and_says_what_is_written() -> None:
    test = doctest.DocTestParser().get_doctest(README, {}, "README.md", None, 0)
    assert len(test.examples) > 15
    said: list[str] = []
    failed = doctest.DocTestRunner().run(test, out=said.append)
    assert not failed.failed, "".join(said)


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) >= 5
    for link in links:
        assert (FOLDER / link).resolve().exists(), link
    shown = {Path(link).stem for link in links if link.startswith("examples/")}
    assert shown == {path.stem for path in (FOLDER / "examples").glob("*.py")}
