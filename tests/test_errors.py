from __future__ import annotations

import pickle
import re

import pytest

import inbedder_retrieval
from inbedder_retrieval import errors

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.InbedderError)
}


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    drawn: dict[str, tuple[str, ...]] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)([A-Z]\w+)(?: \((\w+)\))?(?:  |$)", line)
        if found is None:
            continue
        depth = len(found[1]) // 4
        above[depth] = found[2]
        parent = above[depth - 1] if depth else "Exception"
        drawn[found[2]] = tuple(filter(None, (parent, found[3])))
    real = {name: tuple(b.__name__ for b in value.__bases__) for name, value in CLASSES.items()}
    assert drawn == real


def test_every_error_can_be_imported_from_the_package() -> None:
    assert set(CLASSES) <= set(inbedder_retrieval.__all__)


def test_what_the_caller_handed_in_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="a question must hold some text"):
        inbedder_retrieval.View("feeling", "")


def test_a_missing_extra_is_an_import_error_that_says_what_to_run() -> None:
    error = errors.MissingExtraError("export", "export")
    assert isinstance(error, ImportError)
    assert str(error).endswith("run: pip install 'inbedder-retrieval[export]'")


def test_errors_pass_between_processes() -> None:
    made = [kind("said") for kind in CLASSES.values() if kind is not errors.MissingExtraError]
    for error in [*made, errors.MissingExtraError("export", "torch")]:
        found = pickle.loads(pickle.dumps(error))
        assert (type(found), str(found)) == (type(error), str(error))
