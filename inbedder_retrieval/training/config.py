"""Config: everything that decides how a model is trained, as data that is kept beside it.

A config is a TOML file; those in the package are found by name. What it leaves out has the default
of its kind:

    prefix   24,576 tokens a batch, learning rate 5e-4: the packaged kind
    joint    64 rows a step, 2e-5, as InBedder's authors trained (arXiv 2402.09642, appendix)
    causal   64 rows a step, 2e-5, or 2e-4 with LoRA
"""

from __future__ import annotations

import hashlib
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inbedder_retrieval.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Kind",
    "Lora",
    "Losses",
    "TrainConfig",
    "TrainData",
    "packaged_configs",
    "read_toml",
]

Kind = Literal["prefix", "joint", "causal"]
FOLDER = files("inbedder_retrieval").joinpath("training", "configs")
DEFAULTS: dict[str, dict[str, Any]] = {
    "prefix": {"learning_rate": 5e-4, "token_budget": 24_576},
    "joint": {"learning_rate": 2e-5, "token_budget": 32_768, "rows": 64},
    "causal": {"learning_rate": 2e-5, "token_budget": 32_768, "rows": 64},
}
LORA_RATE = 2e-4


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainData(_Part):
    """Files of examples, and how often an epoch shows them.

    Attributes:
        files: a name or pattern below the data folder, such as `views-*.jsonl`; behind
            `packaged:`, one of the texts that come with this package.
        repeat: how many times an epoch shows each of their texts. A part of a time shows so large
            a share of them, drawn anew for each epoch.
        repeat_of: the same for the texts of a source, by its name: the rows' `s` or `source`.
        about: what the model card says of them, such as their licence.
    """

    files: str = Field(min_length=1)
    repeat: float = Field(default=1.0, gt=0)
    repeat_of: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    about: str = ""


class Losses(_Part):
    """How much each part of a prefix model's loss weighs; see `losses.py`.

    Attributes:
        words: cross-entropy of the answer's word pieces at the answer slot.
        alignment: of the slot's bare state with the teacher's embedding of the answer, as a whole.
        alignment_cosine: within that, of one minus the cosine.
        temperature: of the cosines in the alignment's softmax.
        distillation: of one minus the cosine of the general vector and the teacher's.
        contrast: between all slots of a batch: their vectors are to be as alike as the teacher
            finds their answers, so those of one text part where its answers do.
        contrast_temperature: of the vectors' cosines in it.
    """

    words: float = Field(default=1.0, ge=0)
    alignment: float = Field(default=0.5, ge=0)
    alignment_cosine: float = Field(default=3.0, ge=0)
    temperature: float = Field(default=0.05, gt=0)
    distillation: float = Field(default=10.0, ge=0)
    contrast: float = Field(default=0.0, ge=0)
    contrast_temperature: float = Field(default=0.05, gt=0)


class Lora(_Part):
    """Low-rank adapters in place of all weights (Hu et al. 2021, arXiv 2106.09685), by peft.

    Attributes:
        targets: the layers that get one: names that end a module's, or peft's `all-linear`.
    """

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"


class TrainConfig(_Part):
    """How a model is trained.

    Attributes:
        base: the model begun from: a folder, owner/name on the hub, a packaged model, `pypi:` and
            the name of an installed package that holds one, or `config:` and the name of a config
            that is trained first, into the folder `first` of the output.
        teacher: the model whose embeddings of texts and answers a prefix model is held to; None
            is the base. It reads the same word pieces.
        average: names of configs that are trained from the same base on their own, into the folders
            `average-1` and so on of the output. The weights written are the mean of theirs and this
            one's (model soups, Wortsman et al. 2022, arXiv 2203.05482).
        name: what the model will be called; None takes the output folder's name.
        data: files and how often they are shown; empty shows every file that is given once.
        clean: clean the answers (`cleaning.py`).
        steps: how many times the weights change; None makes it `epochs`.
        token_budget: tokens in one batch on one device, padding included.
        rows: texts in one batch at most; None leaves it to the token budget.
        accumulation: how many batches make a step, on each device.
        warmup: the share of the steps in which the rate rises; it then falls along a cosine.
        clip: the largest norm of the gradient.
        dropout: None leaves what the base's configuration says.
        precision: what the layers run in while training; the weights are kept in float32.
        save_as: what the weights are written in.
        questions_per_text: prefix: as many of a text's questions are packed beside it at a time.
        max_question_tokens: a question's pieces after these are left out; prefix only, for the
            others count the whole row.
        max_answer_tokens: likewise of an answer.
        held_out: texts that are not trained on, but measured before and after.
        save_every: steps between checkpoints, of which the last `keep` are kept.
        export: whether a prefix model gets its `model.onnx`; `inbedder export` makes it later.
        workers: processes that pack batches; 0 packs them in between.
        recipe: changes to the recipe that is derived for the base.
    """

    kind: Kind = "prefix"
    base: str = Field(min_length=1)
    teacher: str | None = Field(default=None, min_length=1)
    average: tuple[str, ...] = ()
    name: str | None = None
    data: tuple[TrainData, ...] = ()
    clean: bool = False
    seed: int = Field(default=0, ge=0)
    epochs: float = Field(default=1.0, gt=0)
    steps: int | None = Field(default=None, ge=1)
    token_budget: int = Field(ge=16)
    rows: int | None = Field(default=None, ge=1)
    accumulation: int = Field(default=1, ge=1)
    learning_rate: float = Field(gt=0)
    warmup: float = Field(default=0.03, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    save_as: Literal["float32", "float16", "bfloat16"] = "float16"
    questions_per_text: int = Field(default=16, ge=1)
    max_question_tokens: int = Field(default=48, ge=1)
    max_answer_tokens: int = Field(default=32, ge=1)
    held_out: int = Field(default=200, ge=0)
    save_every: int = Field(default=500, ge=1)
    keep: int = Field(default=2, ge=1)
    export: bool = True
    workers: int = Field(default=0, ge=0)
    losses: Losses = Losses()
    lora: Lora | None = None
    recipe: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_its_kind(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        defaults = dict(DEFAULTS.get(given.get("kind", "prefix"), DEFAULTS["prefix"]))
        if given.get("lora") is not None:
            defaults["learning_rate"] = LORA_RATE
        if given.get("kind") == "causal":
            # Decoders have states that float16 cannot hold.
            defaults["save_as"] = "bfloat16"
        return defaults | given

    @model_validator(mode="after")
    def _whole(self) -> TrainConfig:
        if self.lora is not None and self.kind != "causal":
            raise ValueError(f"lora is for causal models; the kind is {self.kind}")
        if self.lora is not None and self.average:
            raise ValueError("average is for models that are trained whole; leave lora out")
        if self.teacher is not None and self.kind != "prefix":
            raise ValueError(f"a teacher is for prefix models; the kind is {self.kind}")
        return self

    @classmethod
    def load(cls, name: str | Path, **changes: Any) -> TrainConfig:
        """Read a config of the package by its name, or a TOML file, and change some of it.

        A change to a table changes what it names there.

        Raises:
            InputError: there is no such config, or it holds what is none.
        """
        path = Path(name)
        packaged = packaged_configs()
        try:
            if str(name) in packaged:
                content = FOLDER.joinpath(f"{name}.toml").read_text("utf-8")
            else:
                content = path.read_text("utf-8")
            values = read_toml(content)
        except (OSError, ValueError) as error:
            raise InputError(
                f"the config {name} cannot be read: {error}; give a TOML file, or one of "
                f"{', '.join(packaged)}"
            ) from error
        for key, value in changes.items():
            inner = values.get(key)
            both = isinstance(value, dict) and isinstance(inner, dict)
            values[key] = inner | value if both else value
        return cls.of(values, f"the config {name}")

    @classmethod
    def of(cls, values: dict[str, Any], where: str = "the config") -> TrainConfig:
        """Make a config of plain values.

        Raises:
            InputError: a value is none of a config's, or out of its range.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{where}: {place or 'as a whole'}: {first['msg']}") from error

    def save(self, path: str | Path) -> None:
        """Write the config as TOML, without what is at its default."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        Path(path).write_text(_toml(values), encoding="utf-8")

    def digest(self) -> str:
        """Return 16 hexadecimal digits that differ where a step would.

        What changes none may change between two runs: how often to save, how many workers pack.
        """
        free = {"save_every", "keep", "workers", "name", "save_as", "export"}
        text = self.model_dump_json(exclude=free)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def packaged_configs() -> list[str]:
    """Return the names of the configs in the package."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in FOLDER.iterdir()
        if entry.name.endswith(".toml")
    )


def read_toml(content: str) -> dict[str, Any]:
    """Read TOML; what is none raises ValueError."""
    return tomllib.loads(content)


def _toml(values: dict[str, Any], table: str = "") -> str:
    """Write what a config holds: values first, then its tables."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in values.items():
        key = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _literal(key)
        name = f"{table}.{key}" if table else key
        if isinstance(value, dict):
            tables.append(f"\n[{name}]\n{_toml(value, name)}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            tables += [f"\n[[{name}]]\n{_toml(one, name)}" for one in value]
        elif value is not None:
            lines.append(f"{key} = {_literal(value)}\n")
    return "".join([*lines, *tables])


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(_literal(one) for one in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    escaped = "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return f'"{escaped}"'
