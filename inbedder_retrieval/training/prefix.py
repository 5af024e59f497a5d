"""Prefix training: texts with their questions in packed batches, and the loss of a model on one.

A batch is what `backends.prefix.PrefixModel` takes, with a group for each question: the answer
slots stand first in their group, so that they have the same columns in every row, whatever their
questions' lengths. Where a token stands does not matter to the model; its position does, and that
is the one it has when the text is embedded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inbedder_retrieval.backends.prefix import PrefixModel
from inbedder_retrieval.packing import BLOCKS, Packer, TokenizedTexts, token_number
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.training.base import answer_pieces
from inbedder_retrieval.training.config import Losses, TrainConfig
from inbedder_retrieval.training.examples import Example
from inbedder_retrieval.training.losses import (
    alignment_loss,
    contrast_loss,
    distillation_loss,
    words_loss,
)
from inbedder_retrieval.training.plan import Batch

__all__ = ["PrefixRows", "PrefixStudent"]

Tensors: TypeAlias = dict[str, torch.Tensor]


class PrefixRows:
    """Examples as word pieces, and packed batches of them.

    A row is a text with some of its questions: all of them, or as many as the config says, chosen
    anew each time it is shown.

    Attributes:
        sizes: (N, 3) of every row; see `plan.make_plan`.
        cut: how many texts, questions and answers were cut.
        owners: (N,) which example each row is of.
        dropped: pairs whose answer has no piece in the vocabulary.
    """

    def __init__(
        self, examples: Sequence[Example], tokenizer: Tokenizer, recipe: Recipe, config: TrainConfig
    ) -> None:
        self._recipe, self._config = recipe, config
        packer = Packer(tokenizer, recipe)
        self._starts = packer.starts
        self._around = _ids(tokenizer, recipe, recipe.text_template, "{text}")
        self._before, self._after = _ids(tokenizer, recipe, recipe.question_template, "{question}")
        self._own = len(self._before) + len(self._after)
        questions = list(dict.fromkeys(q for one in examples for q, _ in one.pairs))
        answers = list(dict.fromkeys(a for one in examples for _, a in one.pairs))
        most = config.max_question_tokens
        most = min(most, packer.question_room - self._own)
        whole = [one.ids for one in tokenizer.encode_batch(questions, add_special_tokens=False)]
        bags = answer_pieces(tokenizer, answers)
        # The teacher reads an answer as any text.
        self._answers = packer.tokenize(answers)
        self._bags = [bag[: config.max_answer_tokens] for bag in bags]
        self._questions = [ids[:most] for ids in whole]
        question_of = {question: k for k, question in enumerate(questions)}
        answer_of = {answer: k for k, answer in enumerate(answers)}
        self._pairs: list[NDArray[np.int64]] = []
        self.dropped = 0
        kept: list[str] = []
        owners: list[int] = []
        for number, example in enumerate(examples):
            pairs = [(question_of[q], answer_of[a]) for q, a in example.pairs]
            told = [pair for pair in pairs if bags[pair[1]]]
            self.dropped += len(pairs) - len(told)
            if told:
                self._pairs.append(np.array(told, dtype=np.int64))
                kept.append(example.text)
                owners.append(number)
        self.owners = np.array(owners, dtype=np.int64)
        self._texts = packer.tokenize(kept)
        self.cut = (
            len(self._texts.truncated),
            sum(len(ids) > most for ids in whole),
            sum(len(bag) > config.max_answer_tokens for bag in bags),
        )
        widths = np.array([len(ids) for ids in self._questions], dtype=np.int64) + self._own
        specials = sum(map(len, self._around))
        counts = np.array([len(one) for one in self._pairs], dtype=np.int64)
        self.sizes = np.stack(
            [
                np.diff(self._texts.starts) + specials,
                np.minimum(counts, config.questions_per_text),
                np.array([widths[one[:, 0]].max() for one in self._pairs], dtype=np.int64),
            ],
            axis=1,
        ).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._pairs)

    def items(self, batch: Batch) -> int:
        """Return how many questions a batch asks."""
        return int(self.sizes[list(batch.rows), 1].sum())

    def pack(self, batch: Batch, seed: int = 0) -> Tensors:
        """Pack a batch.

        Returns what `PrefixModel` takes, and: own (B, G) which of the batch's answers a question
        has, -1 where there is no question; pieces, weights (U, P) the answers as bags; text_rows
        (B,), answer_rows (U,) their numbers, for the teacher.
        """
        chosen = [self._chosen(row, place, batch, seed) for place, row in enumerate(batch.rows)]
        text_ids, is_text = self.texts(np.array(batch.rows))
        lengths = is_text.sum(1)
        groups = max(len(one) for one in chosen)
        width = max(len(self._questions[q]) for one in chosen for q, _ in one) + self._own
        slots = len(self._ends(0))
        shape = (len(chosen), groups, width)
        ids, places = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        segments = np.full(shape, -1, np.int64)
        own = np.full(shape[:2], -1, np.int64)
        answers: dict[int, int] = {}
        for row, pairs in enumerate(chosen):
            for group, (question, answer) in enumerate(pairs):
                tokens = [*self._before, *self._questions[question], *self._after]
                ends = self._ends(len(self._questions[question]))
                order = [*ends, *(k for k in range(len(tokens)) if k not in ends)]
                placed = (row, group, slice(0, len(order)))
                ids[placed] = [tokens[k] for k in order]
                places[placed] = order
                segments[placed] = group + 1
                own[row, group] = answers.setdefault(answer, len(answers))
        places += self._starts(lengths)[:, None, None] + self._recipe.first_position
        text_segments = np.where(is_text, 0, -1)
        wide = text_ids.shape[1]
        slot_columns = wide + np.arange(groups)[:, None] * width + np.arange(slots)
        columns = np.concatenate([np.arange(wide), slot_columns.ravel()])
        weights = np.zeros((len(chosen), 1 + slot_columns.size, len(columns)), np.float32)
        weights[:, 0, :wide] = is_text / lengths[:, None]
        weights[:, 1 + np.arange(slot_columns.size), wide + np.arange(slot_columns.size)] = 1.0
        every = np.concatenate([text_segments, segments.reshape(len(chosen), -1)], 1)
        bag, share = _bags([self._bags[answer] for answer in answers])
        arrays: dict[str, NDArray[Any]] = {
            "text_ids": text_ids,
            "text_segments": text_segments,
            "question_ids": ids,
            "question_positions": places,
            "question_segments": segments,
            # Each text has questions of its own here.
            "question_rows": np.arange(len(chosen)),
            "columns": columns,
            "pooled_segments": every[:, columns],
            "pool_weights": weights,
            "own": own,
            "pieces": bag,
            "weights": share,
            "text_rows": np.array(batch.rows),
            "answer_rows": np.array(list(answers)),
        }
        return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}

    def texts(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the texts of rows in their template (B, T), and which of the places are theirs."""
        return self._rows(self._texts, rows)

    def answers(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return answers likewise, as the teacher reads them."""
        return self._rows(self._answers, numbers)

    def shown(self, batches: Sequence[Batch]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which rows batches show, and the answers they may ask for, in order of length."""
        rows = np.unique([row for batch in batches for row in batch.rows])
        answers = np.unique(np.concatenate([self._pairs[row][:, 1] for row in rows]))
        texts = np.diff(self._texts.starts)[rows]
        lengths = np.diff(self._answers.starts)[answers]
        return (
            rows[np.argsort(texts, kind="stable")],
            answers[np.argsort(lengths, kind="stable")],
        )

    def _ends(self, pieces: int) -> list[int]:
        """Return where the answer slots of a question of so many pieces are."""
        template, token = self._recipe.question_template, self._recipe.answer_token
        middle = template.index("{question}")
        return [
            place if place < middle else place + pieces - 1
            for place, one in enumerate(template)
            if one == token
        ]

    def _chosen(self, row: int, place: int, batch: Batch, seed: int) -> NDArray[np.int64]:
        pairs, most = self._pairs[row], self._config.questions_per_text
        if len(pairs) <= most:
            return pairs
        random = np.random.default_rng([seed, batch.epoch, row, place])
        return pairs[np.sort(random.choice(len(pairs), most, replace=False))]

    def _rows(
        self, texts: TokenizedTexts, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return texts in their template (B, T), and which of the places are theirs."""
        before, after = self._around
        found = [
            [*before, *texts.pieces[texts.starts[row] : texts.starts[row + 1]].tolist(), *after]
            for row in rows
        ]
        lengths = np.array([len(one) for one in found])
        ids = np.zeros((len(found), lengths.max()), np.int64)
        for number, one in enumerate(found):
            ids[number, : len(one)] = one
        return ids, np.arange(ids.shape[1]) < lengths[:, None]


class PrefixStudent(torch.nn.Module):
    """A masked language model that is trained to answer at its slots.

    Args of `forward`: a packed batch with the teacher's `text_vectors` and `answer_vectors`.
    Returns the loss and its parts, as means.
    """

    def __init__(self, model: Any, recipe: Recipe, losses: Losses) -> None:
        super().__init__()
        self.model = model
        self._losses = losses
        self._dropout = float(getattr(model.config, "attention_probs_dropout_prob", 0.0) or 0.0)
        # Not registered: its modules are the model's own, and are to be saved once.
        self._packed = (PrefixModel(model, recipe, self._attend),)

    def forward(self, **batch: torch.Tensor) -> Tensors:
        inputs = {name: batch[name] for name in BLOCKS}
        vectors, states = self._packed[0](**inputs)
        own = batch["own"]
        asked = own >= 0
        slots = (vectors.shape[1] - 1) // own.shape[1]
        answers = own[asked].repeat_interleave(slots)

        def at_slots(found: torch.Tensor) -> torch.Tensor:
            by_group = found[:, 1:].reshape(*own.shape, slots, -1)
            return by_group[asked].flatten(0, 1)

        through = at_slots(vectors)
        logits = self.model.get_output_embeddings()(through)
        weights = self._losses
        parts = {
            "words": words_loss(logits, batch["pieces"][answers], batch["weights"][answers]),
            "alignment": alignment_loss(
                at_slots(states),
                batch["answer_vectors"],
                answers,
                temperature=weights.temperature,
                cosine_weight=weights.alignment_cosine,
            ),
            "distillation": distillation_loss(states[:, 0], batch["text_vectors"]),
        }
        if weights.contrast:
            parts["contrast"] = contrast_loss(
                through,
                batch["answer_vectors"],
                answers,
                temperature=weights.temperature,
                contrast_temperature=weights.contrast_temperature,
            )
        shares = {name: getattr(weights, name) for name in parts}
        loss = torch.stack([shares[name] * part for name, part in parts.items()]).sum()
        return {"loss": loss, **{name: part.detach() for name, part in parts.items()}}

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bias: torch.Tensor,
        heads: int,
    ) -> torch.Tensor:
        """Attend as `prefix.attend` does, with dropout, and in whatever the layers run in."""
        query, key, value = (
            part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in (query, key, value)
        )
        # The least float32 has no bfloat16: it would become minus infinity.
        bias = bias.clamp(min=torch.finfo(query.dtype).min).to(query.dtype)
        read = torch.nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=bias[:, None],
            dropout_p=self._dropout if self.training else 0.0,
        )
        return read.transpose(1, 2).flatten(2)


def _ids(
    tokenizer: Tokenizer, recipe: Recipe, template: Sequence[str], hole: str
) -> tuple[list[int], list[int]]:
    """Return the tokens of a template before and after its hole."""
    middle = template.index(hole)
    before, after = template[:middle], template[middle + 1 :]
    return (
        [token_number(tokenizer, token, recipe.name) for token in before],
        [token_number(tokenizer, token, recipe.name) for token in after],
    )


def _bags(bags: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return bags padded to one width, and the share of each of their pieces."""
    pieces = np.zeros((len(bags), max(map(len, bags))), np.int64)
    shares = np.zeros(pieces.shape, np.float32)
    for number, bag in enumerate(bags):
        pieces[number, : len(bag)] = bag
        shares[number, : len(bag)] = 1 / len(bag)
    return pieces, shares
