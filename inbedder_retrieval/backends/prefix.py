"""The forward path of BERT-like encoders under `prefix` attention.

The text and the questions are two streams through the same layers. The text reads itself alone;
each group of questions reads the text and itself. So no token is compared with one that it may not
look at, the cost of a question does not grow with their number, and the last layer is computed for
the pooled columns alone. Where the recipe has questions read their text from a later layer on, the
layers before it, and the projections of that one, run once for each different block of questions:
once a batch, when all start at one position. Nothing is approximated: where questions read their
text in every layer, `PackedModel` gives the same vectors.

The modules and weights are those of transformers' BERT and RoBERTa; only their order is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import torch

from inbedder_retrieval.backends.pooling import Pooling
from inbedder_retrieval.recipe import Recipe

__all__ = ["MODEL_TYPES", "Attend", "PrefixModel", "additive", "attend", "fits"]

# transformers' models that are built as this module reads them.
MODEL_TYPES = ("bert", "camembert", "roberta", "xlm-roberta")
# query (B, Q, H), key and value (B, K, H), what is added to their products (B, 1 or Q, K), heads.
Attend: TypeAlias = Callable[
    [torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor
]


def fits(model: torch.nn.Module, recipe: Recipe) -> bool:
    """Return whether this forward path is that of a model under its recipe."""
    config = cast("Any", model).config
    absolute = getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
    return recipe.attention == "prefix" and config.model_type in MODEL_TYPES and absolute


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    bias: torch.Tensor,
    heads: int,
) -> torch.Tensor:
    """Let queries (B, Q, H) read keys and values (B, K, H); `bias` is (B, 1 or Q, K)."""
    query, key, value = (
        part.view(*part.shape[:2], heads, -1).transpose(1, 2) for part in (query, key, value)
    )
    read = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=bias[:, None]
    )
    return read.transpose(1, 2).flatten(2)


class PrefixModel(torch.nn.Module):
    """A BERT-like transformers model over a text stream and a question stream.

    Args of `forward`: as `packing.blocks_of` names them, as tensors. Returns two tensors (B, V, H):
    the views' vectors, which went through the recipe's head, and the bare states they were made of.
    """

    def __init__(self, model: torch.nn.Module, recipe: Recipe, attend: Attend = attend) -> None:
        super().__init__()
        body = cast("Any", model).base_model
        self.embeddings = body.embeddings
        self.layers = torch.nn.ModuleList(list(body.encoder.layer)[: recipe.layer])
        self.reads_from = recipe.reads_from
        self.first_position = recipe.first_position
        self.question_type = recipe.question_token_type
        self.heads = int(body.config.num_attention_heads)
        self.attend = attend
        self.pooling = Pooling(model, recipe)

    def forward(
        self,
        text_ids: torch.Tensor,
        text_segments: torch.Tensor,
        question_ids: torch.Tensor,
        question_positions: torch.Tensor,
        question_segments: torch.Tensor,
        question_rows: torch.Tensor,
        columns: torch.Tensor,
        pooled_segments: torch.Tensor,
        pool_weights: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        text, asked = self._embedded(text_ids, question_ids, question_positions)
        rows, (blocks, groups, width) = text_ids.shape[0], question_ids.shape
        # Masks are made once, as numbers to add: a boolean one is turned into them in every layer.
        is_text = (text_segments >= 0)[:, None]
        own = question_segments[..., :, None] == question_segments[..., None, :]
        before = is_text[:, None].expand(-1, groups, width, -1)
        both = torch.cat([before, own.index_select(0, question_rows)], -1)
        in_text = additive(is_text, text.dtype)
        in_question = additive(own.flatten(0, 1), text.dtype)
        in_group = additive(both.flatten(0, 1), text.dtype)

        # Tokens stand in one long row but where they attend: a product of matrices with its bias
        # is one operator then, in float32 and in int8.
        def by_row(states: torch.Tensor) -> torch.Tensor:
            return states.reshape(rows, -1, states.shape[-1])

        def by_group(of_questions: torch.Tensor) -> torch.Tensor:
            return of_questions.reshape(-1, width, of_questions.shape[-1])

        def of_rows(of_blocks: torch.Tensor) -> torch.Tensor:
            by_block = of_blocks.reshape(blocks, groups * width, -1)
            return by_block.index_select(0, question_rows).flatten(0, 1)

        def behind(of_text: torch.Tensor, of_questions: torch.Tensor) -> torch.Tensor:
            shared = by_row(of_text)[:, None].expand(-1, groups, -1, -1)
            own = of_questions.reshape(rows, groups, width, -1)
            return torch.cat([shared, own], 2).flatten(0, 1)

        for number, layer in enumerate(self.layers[:-1]):
            query, key, value = _projections(layer)
            key_text, value_text = key(text), value(text)
            from_text = self.attend(
                by_row(query(text)), by_row(key_text), by_row(value_text), in_text, self.heads
            )
            text = _rest(layer, from_text.flatten(0, 1), text)
            mine = [query(asked), key(asked), value(asked)]
            if number < self.reads_from:
                # The text is not read: the block is the same for all rows that end with it.
                asking, keys, values = map(by_group, mine)
                read = self.attend(asking, keys, values, in_question, self.heads)
            else:
                if number == self.reads_from:
                    *mine, asked = map(of_rows, [*mine, asked])
                read = self.attend(
                    by_group(mine[0]),
                    behind(key_text, mine[1]),
                    behind(value_text, mine[2]),
                    in_group,
                    self.heads,
                )
            asked = _rest(layer, read.flatten(0, 1), asked)
        if len(self.layers) <= self.reads_from + 1:
            asked = of_rows(asked)

        states = torch.cat([by_row(text), by_row(asked)], 1)
        pooled = states[:, columns].flatten(0, 1)
        if len(self.layers) > 0:
            # Only what is pooled goes through the last layer; all of it is still looked at.
            query, key, value = _projections(self.layers[-1])
            of_questions = question_segments.flatten(1).index_select(0, question_rows)
            segments = torch.cat([text_segments, of_questions], 1)[:, None]
            allowed = (segments == 0) | (segments > 0) & (segments == pooled_segments[..., None])
            states = states.flatten(0, 1)
            read = self.attend(
                by_row(query(pooled)),
                by_row(key(states)),
                by_row(value(states)),
                additive(allowed, states.dtype),
                self.heads,
            )
            pooled = _rest(self.layers[-1], read.flatten(0, 1), pooled)
        found = self.pooling(by_row(pooled), pooled_segments, pool_weights)
        return cast("tuple[torch.Tensor, torch.Tensor]", found)

    def _embedded(
        self, text_ids: torch.Tensor, question_ids: torch.Tensor, question_positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.arange(text_ids.shape[1], device=text_ids.device) + self.first_position
        text: torch.Tensor = self.embeddings(
            input_ids=text_ids,
            token_type_ids=torch.zeros_like(text_ids),
            position_ids=places[None].expand_as(text_ids),
        ).flatten(0, 1)
        ids = question_ids.flatten(1)
        asked: torch.Tensor = self.embeddings(
            input_ids=ids,
            token_type_ids=torch.full_like(ids, self.question_type),
            position_ids=question_positions.flatten(1),
        ).flatten(0, 1)
        return text, asked


def additive(allowed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Turn a mask into what is added to attention's products: nothing, or the least number."""
    closed = torch.tensor(torch.finfo(dtype).min, dtype=dtype, device=allowed.device)
    return torch.where(allowed, torch.zeros_like(closed), closed)


def _projections(layer: torch.nn.Module) -> tuple[Any, Any, Any]:
    own = cast("Any", layer).attention.self
    return own.query, own.key, own.value


def _rest(layer: torch.nn.Module, read: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Run what follows attention: its output, the feed-forward network, both residuals."""
    parts = cast("Any", layer)
    states = parts.attention.output(read, states)
    found: torch.Tensor = parts.output(parts.intermediate(states), states)
    return found
