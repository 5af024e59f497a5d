from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

import inbedder_retrieval

ROOT = "inbedder_retrieval"
FOLDER = Path(inbedder_retrieval.__file__).parent

# Each module imports only from modules before it.
ORDER = [
    "errors",
    "metrics",
    "documents",
    "views",
    "recipe",
    "recipes",
    "checkpoint",
    "texts",
    "packing",
    "prompting",
    "pipeline",
    "embeddings",
    "backends",
    "backends.onnx",
    "backends.pooling",
    "backends.prefix",
    "backends.packed",
    "backends.torch",
    "backends.processes",
    "quantize",
    "export",
    "weights",
    "explain",
    "answers",
    "embedder",
    "testing",
    "collection.storage",
    "collection.registry",
    "collection.schema",
    "collection.moments",
    "collection.paths",
    "collection.filters",
    "collection.conditions",
    "collection.connection",
    "collection.engine",
    "collection.location",
    "collection.flow",
    "collection.edge_terms",
    "collection.folder",
    "collection.edge",
    "collection.requests",
    "collection.client_terms",
    "collection.refusals",
    "collection.line",
    "collection.aliases",
    "collection.client",
    "collection.store",
    "collection.index",
    "collection.archive",
    "collection.origin",
    "collection.transfer",
    "collection.copies",
    "collection.backfill",
    "collection.lifecycle",
    "collection.layouts",
    "collection.adopted",
    "collection.adopt",
    "collection.contents",
    "collection.repair",
    "collection.query",
    "collection.ranking",
    "collection.asked",
    "collection.search",
    "collection.blocking",
    "collection.awaited",
    "collection.collection",
    "collection",
    "naming",
    "corpus",
    "clusters",
    "grouping",
    "cluster",
    "crosstab",
    "mapping",
    "palette",
    "report",
    "plot",
    "readers",
    "sources",
    "demo",
    "evaluation",
    "evaluation.rows",
    "evaluation.tasks",
    "evaluation.published",
    "evaluation.contenders",
    "evaluation.scores",
    "evaluation.clusters",
    "evaluation.robustness",
    "evaluation.measure",
    "evaluation.page",
    "evaluation.mteb_encoder",
    "training",
    "training.cleaning",
    "training.examples",
    "training.contamination",
    "training.config",
    "training.plan",
    "training.losses",
    "training.base",
    "training.data",
    "training.report",
    "training.curve",
    "training.card",
    "training.prefix",
    "training.teacher",
    "training.prompted",
    "training.loop",
    "training.finish",
    "training.train",
    "bench",
    "bench.workload",
    "bench.machine",
    "bench.matrix",
    "bench.peers",
    "bench.probe",
    "bench.figures",
    "bench.given",
    "bench.edge",
    "bench.stores",
    "bench.backfill",
    "bench.storage",
    "bench.measure",
    "bench.curve",
    "arguments",
    "options",
    "console",
    "evaluation.show",
    "bench.show",
    "bench.command",
    "cli_views",
    "cli_eval",
    "cli_cluster",
    "cli_train",
    "cli_search",
    "cli_collection",
    "cli_copy",
    "cli_repair",
    "cli",
    "",  # the package itself
    "__main__",
]
# Their functions choose what to load, so these may import later modules inside them.
FACTORIES = {"backends", "collection.location", "cli"}


def path_of(module: str) -> Path:
    path = FOLDER.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_of(module: str) -> Iterator[tuple[str, bool]]:
    """Yield every module of this package that is imported, and whether inside a function."""
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, functions)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                known = inner.removeprefix(f"{ROOT}.") in ORDER
                names.append(inner if known else str(node.module))
        for name in names:
            if name == ROOT or name.startswith(f"{ROOT}."):
                yield name.removeprefix(ROOT).removeprefix("."), id(node) in lazy


def test_every_module_has_its_place_in_the_order() -> None:
    modules = {
        ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix("__init__").strip(".")
        for path in FOLDER.rglob("*.py")
    }
    assert modules == set(ORDER)
    assert len(ORDER) == len(set(ORDER))


@pytest.mark.parametrize("module", ORDER)
def test_a_module_imports_only_from_modules_before_it(module: str) -> None:
    before = set(ORDER[: ORDER.index(module)])
    wrong = {
        name
        for name, lazy in imports_of(module)
        if name not in before and not (lazy and module in FACTORIES)
    }
    assert not wrong


def test_importing_the_package_loads_no_engine() -> None:
    heavy = ["torch", "onnxruntime", "qdrant_client", "qdrant_edge", "transformers"]
    code = f"import sys, {ROOT}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [ROOT, f"{ROOT}.collection"])
def test_all_names_what_is_visible(name: str) -> None:
    module = importlib.import_module(name)
    visible = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(module.__all__) - {"__version__"} == visible
    assert len(module.__all__) == len(set(module.__all__))


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    """Without the marker of PEP 561 they ignore every annotation in it."""
    assert files(ROOT).joinpath("py.typed").is_file()
