"""Recipe: how one checkpoint is prompted, masked and pooled.

A recipe is data, kept as `inbedder.json` beside the weights. A new checkpoint is a new recipe,
never a new class. This module does not know where checkpoints are or how they run; the recipes of
published checkpoints are in `recipes.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inbedder_retrieval.errors import CheckpointError

__all__ = ["RECIPE_FILE", "Recipe"]

RECIPE_FILE = "inbedder.json"
HOLES = ("{text}", "{question}", "{prompt}")
# Measured with 8 to 64 questions on two cores.
SHARING_TEXTS = 6


class Recipe(BaseModel):
    """How a checkpoint reads a text under several questions, and where the vectors are.

    A template is a list of tokens; the entries `{text}`, `{question}` and `{prompt}` stand for the
    pieces of that string, every other entry is one token of the vocabulary.

    Attributes:
        name: what the model is called in messages and collections.
        model: which of transformers' heads the weights are for: `masked`, `causal` or `seq2seq`
            language models, or an `encoder` without one.
        attention: `prefix`: a text token sees the text, a question token the text and its own
            question; one row holds a text and all questions. `joint`: all see all; a row for each
            text and question. `causal`: a token sees what came before; one row holds a text and
            all questions, which share the longest common beginning of their prompts.
        text_template, question_template: `prefix` only: the tokens of a text and of a question.
        row_template: `joint` and `causal`: the tokens of a row, around `{prompt}`, or around
            `{text}` and `{question}` tokenized apart.
        prompt: the string of `{prompt}`, with `{text}` and `{question}` in it.
        general_prompt: the same for the general view, with `{text}` only; None refuses it.
        answer_token: the token in a template that is an answer slot; None where there is none.
        pooling: how a vector is made of states. With answer slots: `avg_gen`, the mean over the
            slots. Otherwise, after InBedder (arXiv 2402.09642, section 4.1): `fst_gen`, the state
            of the prompt's last token, which predicts the answer's first (for `seq2seq` the
            decoder's first state); `avg_gen`, the mean of that state and those of the generated
            tokens; `last_gen`, the last of them; `avg_ppt`, the mean over the prompt without its
            last token (without slots and the closing token for masked models; the encoder's
            states for `seq2seq`); `avg_all`, the mean over prompt and generated tokens;
            `re_encode`, the generated text embedded by `re_encoder`.
        layer: the layer whose states are pooled: 0 the embeddings, None the last.
        head: `mlm` sends a slot's state through the language-model head's dense layer, activation
            and LayerNorm before the mean is taken; `none` keeps it bare.
        standardize: subtract from each vector its own mean over dimensions and divide by its
            standard deviation.
        general: `prefix` only: `mean` offers the general view, the mean of the text's last states
            without any head; `none` refuses it.
        new_tokens: how many tokens are generated, where pooling needs them.
        re_encoder, samples, filter_words: `re_encode` only: the model that embeds the generated
            text under its general view, how many samples are averaged, and words left out.
        max_text_tokens: `prefix` only: pieces of a text that are read; the rest is cut.
        max_tokens: `joint` and `causal`: the length of a row; only text pieces are cut to reach it.
        cut: which side of a text is cut.
        max_positions: how many positions the model has.
        first_position: what the model counts positions from: 0, or 2 for RoBERTa and its kin.
        question_token_type: `prefix` only: the token type of a question's tokens; a text's is 0.
        question_start: `prefix` only: the position at which every question begins, first_position
            not counted; None lets it begin at its text's length.
        reads_from: `prefix` only: the layer, counted from 0, from which on a question reads its
            text. The layers before it see the question alone: with a question_start they are the
            same under every text and are computed once for a whole batch.
        answer_norm: the mean length of a view's vector before it is scaled to one. A unit vector
            times this goes back through the language-model head to be read as words. None
            estimates it from the model's last norm.
        weights: the digest of the weights, written by `inbedder export`, so that a folder with
            the ONNX file alone is still known to be this model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    model: Literal["masked", "causal", "seq2seq", "encoder"] = "masked"
    attention: Literal["prefix", "joint", "causal"] = "prefix"
    text_template: tuple[str, ...] = ()
    question_template: tuple[str, ...] = ()
    row_template: tuple[str, ...] = ()
    prompt: str = ""
    general_prompt: str | None = None
    answer_token: str | None = None
    pooling: Literal["avg_gen", "fst_gen", "last_gen", "avg_ppt", "avg_all", "re_encode"] = (
        "avg_gen"
    )
    layer: int | None = Field(default=None, ge=0)
    head: Literal["mlm", "none"] = "none"
    standardize: bool = False
    general: Literal["mean", "none"] = "none"
    new_tokens: int = Field(default=3, ge=0)
    re_encoder: str | None = None
    samples: int = Field(default=1, ge=1)
    filter_words: tuple[str, ...] = ()
    max_text_tokens: int = Field(default=224, ge=1)
    max_tokens: int = Field(default=512, ge=2)
    cut: Literal["start", "end"] = "end"
    max_positions: int = Field(default=512, ge=2)
    first_position: int = Field(default=0, ge=0)
    question_token_type: int = Field(default=1, ge=0)
    question_start: int | None = Field(default=None, ge=0)
    reads_from: int = Field(default=0, ge=0)
    answer_norm: float | None = Field(default=None, gt=0)
    weights: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        if self.attention == "prefix":
            _one(self.text_template, "{text}", "text_template")
            _one(self.question_template, "{question}", "question_template")
            if self.answer_token not in self.question_template:
                raise ValueError("question_template must hold the answer_token")
            if len(self.text_template) < 2:
                raise ValueError("text_template must hold a token, for texts without any piece")
            if self.max_text_tokens >= self.max_positions:
                raise ValueError("max_text_tokens must leave positions for a question")
            if self.pooling != "avg_gen":
                raise ValueError("prefix attention pools answer slots only (avg_gen)")
            if self.layer is not None and 0 < self.layer <= self.reads_from:
                raise ValueError("a question must read its text in a layer before the pooled one")
        elif "{prompt}" in self.row_template:
            _one(self.row_template, "{prompt}", "row_template")
            if self.prompt.count("{text}") != 1 or self.prompt.count("{question}") != 1:
                raise ValueError("prompt must hold '{text}' and '{question}' exactly once")
        else:
            _one(self.row_template, "{text}", "row_template")
            _one(self.row_template, "{question}", "row_template")
        if self.model == "causal" and self.attention != "causal":
            raise ValueError("a causal model needs causal attention")
        if self.general_prompt is not None and self.general_prompt.count("{text}") != 1:
            raise ValueError("general_prompt must hold '{text}' exactly once")
        if self.answer_token is None and self.model == "masked" and self.pooling == "avg_gen":
            raise ValueError("a masked model needs an answer_token for avg_gen")
        if self.pooling == "re_encode" and self.re_encoder is None:
            raise ValueError("re_encode needs a re_encoder, the model that embeds the answers")
        if self.generates and self.model not in ("causal", "seq2seq"):
            raise ValueError(f"{self.pooling} generates text, which a {self.model} model does not")
        return self

    @property
    def generates(self) -> bool:
        """Whether pooling needs generated tokens."""
        if self.pooling == "re_encode":
            return True
        wanted = self.pooling in ("avg_gen", "last_gen") or (
            self.pooling == "avg_all" and self.model == "causal"
        )
        return wanted and self.answer_token is None and self.new_tokens > 0

    @property
    def asks_once(self) -> bool:
        """Whether layers read questions alone, and the same ones under every text."""
        return self.reads_from > 0 and self.question_start is not None

    def batch_tokens(self, usual: int, asked: int) -> int:
        """Return how many tokens a batch should hold, whose questions have `asked` of them.

        What layers compute once for a batch is to be shared by some texts, also where the questions
        alone would fill what is `usual`.
        """
        return max(usual, SHARING_TEXTS * asked) if self.asks_once else usual

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
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise CheckpointError(f"{path}: {where}: {first['msg']}") from error

    def save(self, folder: str | Path) -> None:
        """Write `inbedder.json` into a checkpoint's folder, without what is at its default."""
        path = Path(folder) / RECIPE_FILE
        text = self.model_dump_json(indent=2, exclude_defaults=True)
        path.write_text(text + "\n", encoding="utf-8")

    def identity(self) -> str:
        """The part of the recipe that decides a vector, as text, for the fingerprint.

        Defaults are left out, so that a field added later leaves old fingerprints as they are.
        """
        return self.model_dump_json(
            exclude={"name", "answer_norm", "general", "weights"},
            exclude_defaults=True,
        )


def _one(template: tuple[str, ...], hole: str, name: str) -> None:
    if template.count(hole) != 1:
        raise ValueError(f"{name} must hold '{hole}' exactly once")
    strange = [entry for entry in template if "{" in entry and entry not in HOLES]
    if strange:
        raise ValueError(f"{name} has the entry {strange[0]!r}, which is no token and no hole")
