"""Recipe: how one checkpoint is prompted, masked and pooled.

A recipe is data, kept as `inbedder.json` beside the weights. A new checkpoint is a new recipe,
never a new class. This module does not know where checkpoints are or how they run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from inbedder_retrieval.errors import CheckpointError

__all__ = ["RECIPE_FILE", "Recipe"]

RECIPE_FILE = "inbedder.json"


class Recipe(BaseModel):
    """How a checkpoint reads a text under several questions, and where the vectors are.

    A template is a list of tokens; the entry `{text}` or `{question}` stands for the pieces of
    the text or question, every other entry is one token of the vocabulary.

    Attributes:
        name: what the model is called in messages and collections.
        attention: `prefix`: a text token sees the text; a question token sees the text and its
            own question. So one row holds a text and any number of questions.
        text_template: the text's tokens, such as `[CLS] {text} [SEP]`.
        question_template: a question's tokens, ending in its answer slots.
        answer_tokens: how many tokens at the end of a question are answer slots; a view's vector
            is the mean of their last states.
        head: `mlm` sends that mean through the language-model head's dense layer, activation and
            LayerNorm (InBedder, arXiv 2402.09642, section 3); `none` keeps it bare.
        general: `mean` offers the general view, the mean of the text's last states without any
            head; `none` refuses it.
        max_text_tokens: pieces of a text that are read; the rest is cut.
        max_positions: how many positions the model has. A text and a question must fit together.
        first_position: what the model counts positions from: 0, or 2 for RoBERTa and its kin.
        question_token_type: the token type of a question's tokens; a text's is 0.
        answer_norm: the mean length of a view's vector before it is scaled to one. A unit vector
            times this goes back through the language-model head to be read as words.
        weights: the digest of the weights, written by `inbedder export`, so that a folder with
            the ONNX file alone is still known to be this model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    attention: Literal["prefix"] = "prefix"
    text_template: tuple[str, ...]
    question_template: tuple[str, ...]
    answer_tokens: int = Field(default=1, ge=1)
    head: Literal["mlm", "none"] = "mlm"
    general: Literal["mean", "none"] = "mean"
    max_text_tokens: int = Field(ge=1)
    max_positions: int = Field(ge=2)
    first_position: int = Field(default=0, ge=0)
    question_token_type: int = Field(default=1, ge=0)
    answer_norm: float = Field(default=1.0, gt=0)
    weights: str | None = None

    @field_validator("text_template")
    @classmethod
    def _one_text(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value.count("{text}") != 1:
            raise ValueError("text_template must hold '{text}' exactly once")
        return value

    @field_validator("question_template")
    @classmethod
    def _one_question(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value.count("{question}") != 1:
            raise ValueError("question_template must hold '{question}' exactly once")
        return value

    @classmethod
    def load(cls, folder: str | Path) -> Recipe:
        """Read `inbedder.json` from a checkpoint's folder.

        Raises:
            CheckpointError: there is no such file, or it is not a recipe.
        """
        path = Path(folder) / RECIPE_FILE
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise CheckpointError(
                f"{folder} has no {RECIPE_FILE}; a checkpoint needs one that says how it is "
                "prompted and pooled (see inbedder_retrieval.Recipe)"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise CheckpointError(f"{path}: {where}: {first['msg']}") from error

    def save(self, folder: str | Path) -> None:
        """Write `inbedder.json` into a checkpoint's folder."""
        path = Path(folder) / RECIPE_FILE
        path.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def identity(self) -> str:
        """The part of the recipe that decides a vector, as text, for the fingerprint.

        Defaults are left out, so that a field added later leaves old fingerprints as they are.
        """
        return self.model_dump_json(
            exclude={"name", "answer_norm", "general", "weights"}, exclude_defaults=True
        )
