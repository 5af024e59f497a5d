from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import langchain_inbedder

FOLDER = Path(langchain_inbedder.__file__).parent
# What is imported comes with these: the rest is theirs, or Python's.
ALLOWED = {"inbedder_retrieval", "langchain_core", "langchain_inbedder", "numpy", "pydantic"}
ORDER = [
    "embeddings",
    "documents",
    "filters",
    "options",
    "place",
    "searches",
    "store",
    "retriever",
    "router",
    "translator",
]


def imported(path: Path) -> set[str]:
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found: set[str] = set()
    for node in tree:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_only_the_core_and_the_library_are_imported() -> None:
    for path in FOLDER.glob("*.py"):
        names = imported(path)
        roots = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)
        assert roots <= ALLOWED | {"typing_extensions"}, path
        # Nothing but what the library exports is used of it.
        assert not {name for name in names if name.startswith("inbedder_retrieval.")}, path


def test_each_module_imports_only_from_those_before_it() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {"__init__", *ORDER}
    for place, name in enumerate(ORDER):
        used = {one for one in imported(FOLDER / f"{name}.py") if one.startswith("langchain_inb")}
        assert used <= {f"langchain_inbedder.{one}" for one in ORDER[:place]}


def test_what_is_exported_is_listed() -> None:
    modules = {*ORDER, "annotations"}
    visible = {name for name in vars(langchain_inbedder) if not name.startswith("_")} - modules
    assert visible == set(langchain_inbedder.__all__) - {"__version__"}


def test_modules_are_short() -> None:
    assert all(len(path.read_text().splitlines()) <= 400 for path in FOLDER.glob("*.py"))


def test_importing_it_loads_no_model_runtime() -> None:
    code = (
        "import sys, langchain_inbedder\n"
        "print(*({'torch', 'onnxruntime', 'qdrant_client', 'qdrant_edge'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == ""
