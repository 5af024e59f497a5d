"""Vectors the plain way: transformers, one text under one question, nothing packed or padded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

# On a busy machine two threads spend their time waiting for each other.
torch.set_num_threads(1)


def plain_vectors(
    folder: Path,
    texts: Sequence[str],
    questions: Mapping[str, str | None],
    *,
    most: int,
    slots: int = 1,
    head: bool = True,
    start: int | None = None,
    reads_from: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """Return vectors (N, H) by name, of their own length.

    `most` word pieces of a text are read, and a question's last `slots` tokens are the answer.
    Questions begin at position `start`, None being the text's length, and read the text from the
    layer `reads_from` on.
    """
    tokenizer = plain_tokenizer(folder)
    model: Any = BertForMaskedLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    model.eval()
    return {
        name: np.stack(
            [
                _vector(model, tokenizer, text, question, most, slots, head, start, reads_from)
                for text in texts
            ]
        )
        for name, question in questions.items()
    }


def plain_tokenizer(folder: Path) -> Any:
    """Return the tokenizer as transformers reads it."""
    file = str(folder / "tokenizer.json")
    return PreTrainedTokenizerFast(tokenizer_file=file)  # type: ignore[no-untyped-call]


def pieces(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a text alone, whole."""
    found: list[int] = tokenizer(text, add_special_tokens=False, truncation=False, padding=False)[
        "input_ids"
    ]
    return found


@torch.inference_mode()
def _vector(
    model: Any,
    tokenizer: Any,
    text: str,
    question: str | None,
    most: int,
    slots: int,
    head: bool,
    start: int | None,
    reads_from: int,
) -> NDArray[np.float32]:
    cls, sep, mask = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", "[MASK]"])
    ids = [cls, *pieces(tokenizer, text)[:most], sep]
    length = len(ids)
    if question is None:
        states = model.bert(torch.tensor([ids])).last_hidden_state[0]
        return np.asarray(states.mean(dim=0))
    ids += [*pieces(tokenizer, question), sep, *[mask] * slots]
    total = len(ids)
    hidden = torch.finfo(torch.float32).min
    attention = torch.zeros(1, 1, total, total)
    attention[0, 0, :length, length:] = hidden
    begin = length if start is None else start
    positions = [*range(length), *range(begin, begin + total - length)]
    with blind_to_the_text(model.bert.encoder.layer[:reads_from], total, length):
        states = model.bert(
            torch.tensor([ids]),
            attention_mask=attention,
            position_ids=torch.tensor([positions]),
            token_type_ids=torch.tensor([[0] * length + [1] * (total - length)]),
        ).last_hidden_state[0]
    answers = states[-slots:]
    return np.asarray((model.cls.predictions.transform(answers) if head else answers).mean(dim=0))


@contextmanager
def blind_to_the_text(layers: Any, total: int, length: int) -> Iterator[None]:
    """Let no token of a question see the text in these layers, and none of the text the question.

    A row has `total` tokens, of which the first `length` are the text's.
    """
    mask = torch.full((1, 1, total, total), torch.finfo(torch.float32).min)
    mask[..., :length, :length] = 0
    mask[..., length:, length:] = 0

    def masked(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (args[0], mask, *args[2:]), kwargs

    hooks = [layer.register_forward_pre_hook(masked, with_kwargs=True) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale vectors to length one."""
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled
