"""What the README shows is run, and what it points to is there."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_session_prints_what_it_says() -> None:
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert tried >= 8
    assert failed == 0


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    for link in links:
        assert (ROOT / link).resolve().exists(), link
    shown = {Path(link).stem for link in links if link.startswith("examples/")}
    assert shown == {path.stem for path in (ROOT / "examples").glob("*.py")}


def test_the_folders_of_llama_index_are_left_to_namespaces() -> None:
    found = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("llama_index/**/__init__.py")}
    names = ("embeddings", "retrievers", "vector_stores")
    assert found == {f"llama_index/{name}/inbedder/__init__.py" for name in names}


def test_what_llamahub_is_told_is_there() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["llamahub"]
    for name in told["class_authors"]:
        kind = {"InBedderEmbedding": "embeddings", "InBedderRetriever": "retrievers"}
        module = f"llama_index.{kind.get(name, 'vector_stores')}.inbedder"
        assert hasattr(__import__(module, fromlist=[name]), name)
    assert told["import_path"] == "llama_index.vector_stores.inbedder"


def test_importing_loads_neither_a_model_nor_a_runtime() -> None:
    code = (
        "import sys\n"
        "from llama_index.embeddings.inbedder import InBedderEmbedding\n"
        "from llama_index.retrievers.inbedder import InBedderRetriever\n"
        "InBedderEmbedding('How?')\n"
        "assert not {'torch', 'onnxruntime', 'qdrant_edge'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
