"""Views: named questions about a text.

A view is data. This module knows nothing of models: whether a question fits a model is checked
where it is packed.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, overload

from inbedder_retrieval.documents import lone_surrogate
from inbedder_retrieval.errors import ViewError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["GENERAL", "View", "Views"]

MAX_NAME = 64


def _is_name(name: object) -> bool:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or name[-1] == " ":
        return False
    # Marks are what many scripts write vowels with; they follow the letter they belong to.
    kinds = [unicodedata.category(character)[0] for character in name]
    inner = all(k in "LMN" or c in "_-. " for c, k in zip(name, kinds, strict=True))
    return inner and (kinds[0] in "LN" or name[0] == "_")


@dataclass(frozen=True)
class View:
    """A named instruction, such as `View("feeling", "How does the customer feel?")`.

    Args:
        name: what the view is called: letters of any script, digits, `_`, `-`, `.` and spaces.
        instruction: a question about the text. None makes the general view, the mean of the
            text's own tokens, which is always named `general`.

    Raises:
        ViewError: an empty question, or a name that is empty, too long, or holds other characters.
    """

    name: str
    instruction: str | None

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise ViewError(
                f"a view is named {self.name!r}; a name is 1 to {MAX_NAME} letters, digits, "
                "'_', '-', '.' or inner spaces, and begins with a letter, a digit or '_'"
            )
        if self.instruction is None:
            if self.name != "general":
                raise ViewError(
                    f"view {self.name!r} has no question; give it one, "
                    "or name it 'general' for the view without a question"
                )
            return
        if not isinstance(self.instruction, str) or not self.instruction.strip():
            raise ViewError(
                f"view {self.name!r} has the question {self.instruction!r}; "
                "a question must hold some text"
            )
        if (half := lone_surrogate(self.instruction)) is not None:
            raise ViewError(
                f"the question of view {self.name!r} holds the lone surrogate U+{ord(half):04X}; "
                "write it again without that character"
            )
        if self.name == "general":
            raise ViewError(
                "the view 'general' takes no question; it is the mean of the text's own tokens. "
                f"Choose another name for {self.instruction!r}"
            )

    @classmethod
    def parse(cls, text: str) -> View:
        """Read `name=question`, or `general`, as typed on a command line."""
        name, equals, instruction = text.partition("=")
        if not equals and name.strip() == "general":
            return GENERAL
        if not equals:
            raise ViewError(
                f"a view is given as {text!r}; write name=question, "
                'such as feeling="How does the customer feel?", or general'
            )
        return cls(name.strip(), instruction.strip())


GENERAL = View("general", None)

ViewsLike: TypeAlias = "Views | View | Iterable[View] | Mapping[str, str | None]"


class Views(Sequence[View]):
    """Views in order, each name once.

    Raises:
        ViewError: no view at all, or a name that is given twice.
    """

    def __init__(self, views: Iterable[View]) -> None:
        self._views = tuple(views)
        if not self._views:
            raise ViewError("no view was given; give at least one, such as View('general', None)")
        for view in self._views:
            if not isinstance(view, View):
                raise ViewError(
                    f"a view is {type(view).__name__} {view!r}; give View objects, "
                    "or a mapping of names to questions"
                )
        names = [view.name for view in self._views]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ViewError(f"view {twice[0]!r} is given twice; each view needs a name of its own")

    @classmethod
    def of(cls, views: ViewsLike) -> Views:
        """Make Views of one view, several, or a mapping of names to questions."""
        if isinstance(views, Views):
            return views
        if isinstance(views, View):
            return cls([views])
        if isinstance(views, Mapping):
            return cls(View(name, instruction) for name, instruction in views.items())
        return cls(views)

    @classmethod
    def load(cls, path: str | Path) -> Views:
        """Read a `.toml` or `.json` file of names and questions (see `dump`).

        Raises:
            ViewError: the file cannot be read, or is not such a mapping.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
            found = tomllib.loads(text) if _is_toml(path) else json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise ViewError(f"the views in {path} cannot be read: {error}") from error
        found = found.get("views") if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise ViewError(f"{path} holds no table 'views'; write name = \"question\" lines in it")
        return cls(
            GENERAL if name == "general" and question is True else View(name, question)
            for name, question in found.items()
        )

    def dump(self, path: str | Path) -> None:
        """Write a `.toml` or `.json` file that `load` reads: `views` maps names to questions.

        The general view is written as `general = true`.
        """
        path = Path(path)
        table = {v.name: True if v.instruction is None else v.instruction for v in self}
        if _is_toml(path):
            lines = [f"{_toml(name)} = {_toml(question)}" for name, question in table.items()]
            text = "[views]\n" + "\n".join(lines) + "\n"
        else:
            text = json.dumps({"views": table}, indent=2, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8")

    @property
    def names(self) -> list[str]:
        return [view.name for view in self._views]

    @overload
    def __getitem__(self, key: int | str) -> View: ...
    @overload
    def __getitem__(self, key: slice) -> Views: ...
    def __getitem__(self, key: int | str | slice) -> View | Views:
        if isinstance(key, slice):
            return Views(self._views[key])
        if isinstance(key, str):
            for view in self._views:
                if view.name == key:
                    return view
            raise KeyError(key)
        return self._views[key]

    def __contains__(self, view: object) -> bool:
        return view in self._views or view in self.names

    def __len__(self) -> int:
        return len(self._views)

    def __iter__(self) -> Iterator[View]:
        return iter(self._views)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Views) and self._views == other._views

    def __hash__(self) -> int:
        return hash(self._views)

    def __repr__(self) -> str:
        return f"Views({list(self._views)!r})"


def _is_toml(path: Path) -> bool:
    return path.suffix.lower() == ".toml"


def _toml(value: str | bool) -> str:
    """Write a TOML string or boolean: JSON's, but for the one character that TOML escapes too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
