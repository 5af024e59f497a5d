"""The recipes of published checkpoints, by name, and of any checkpoint that has none.

The facts are the InBedder authors' (github.com/zhang-yu-wei/InBedder, lm_encoders_hf): the prompt,
three masks after it for masked models, the last prompt token's state for causal ones, 512 tokens,
texts cut at their start. Two things are done better here and change no vector of a text without
them: a text's own mask tokens are not taken for answer slots, and a long text is cut inside the
text, so that neither the prompt's first words nor a question are lost.
"""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from inbedder_retrieval.errors import CheckpointError
from inbedder_retrieval.recipe import Recipe

__all__ = ["PUBLISHED", "derive_recipe", "prefix_recipe"]

PROMPT = "### Input:\n{text}\n\n### Instruction:\n{question}\n\n### Response:"
MASKS = 3
# They count positions from two: a table's first rows are the padding's.
ROBERTA = ("roberta", "xlm-roberta", "camembert")
MASK_TOKENS = ("[MASK]", "<mask>")


def _masked(name: str) -> Recipe:
    return Recipe(
        name=name,
        model="masked",
        attention="joint",
        row_template=("<s>", "{prompt}", *["<mask>"] * MASKS, "</s>"),
        prompt=PROMPT,
        answer_token="<mask>",
        cut="start",
    )


def _causal(name: str, first: str) -> Recipe:
    return Recipe(
        name=name,
        model="causal",
        attention="causal",
        row_template=(first, "{prompt}"),
        prompt=PROMPT,
        pooling="fst_gen",
        cut="start",
    )


PUBLISHED = {
    recipe.name: recipe
    for recipe in (
        _masked("BrandonZYW/roberta-large-InBedder"),
        # Encodes a pair, takes the head's states, and standardises each vector.
        Recipe(
            name="KomeijiForce/inbedder-roberta-large",
            model="masked",
            attention="joint",
            row_template=(
                *("<s>", "{text}", "</s>", "</s>", "{question}"),
                *["<mask>"] * MASKS,
                "</s>",
            ),
            answer_token="<mask>",
            head="mlm",
            standardize=True,
        ),
        _causal("BrandonZYW/opt-1.3b-InBedder", "</s>"),
        _causal("BrandonZYW/opt-2.7b-InBedder", "</s>"),
        _causal("BrandonZYW/llama-2-7b-InBedder", "<s>"),
        # General embedders that take an instruction, to compare with: their own templates.
        *(
            Recipe(
                name=name,
                model="causal",
                attention="causal",
                row_template=("{prompt}", "<|endoftext|>"),
                prompt="Instruct: {question}\nQuery:{text}",
                general_prompt="{text}",
                pooling="fst_gen",
                max_tokens=8192,
            )
            for name in (
                "Qwen/Qwen3-Embedding-0.6B",
                "Qwen/Qwen3-Embedding-4B",
                "Qwen/Qwen3-Embedding-8B",
            )
        ),
        Recipe(
            name="intfloat/multilingual-e5-large-instruct",
            model="encoder",
            attention="joint",
            row_template=("<s>", "{prompt}", "</s>"),
            prompt="Instruct: {question}\nQuery: {text}",
            general_prompt="{text}",
            pooling="avg_all",
        ),
    )
}


def derive_recipe(name: str, config: dict[str, Any], tokenizer: Tokenizer) -> Recipe:
    """Make the InBedder recipe for a checkpoint that brings none, from its architecture.

    Raises:
        CheckpointError: its architecture is no masked, causal or sequence-to-sequence language
            model, or it is a masked one whose tokenizer has no mask token.
    """
    architecture = (config.get("architectures") or [""])[0]
    before, after = _special_tokens(tokenizer)
    if architecture.endswith("ForMaskedLM"):
        mask = next((token for token in MASK_TOKENS if tokenizer.token_to_id(token)), None)
        if mask is None:
            raise CheckpointError(
                f"the tokenizer of {name} has no mask token ({' or '.join(MASK_TOKENS)}), and a "
                "masked model answers at one; write a recipe that names its token"
            )
        return Recipe(
            name=name,
            model="masked",
            attention="joint",
            row_template=(*before, "{prompt}", *[mask] * MASKS, *after),
            prompt=PROMPT,
            answer_token=mask,
            max_tokens=min(512, _positions(config)),
        )
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return Recipe(
            name=name,
            model="causal",
            attention="causal",
            row_template=(*before, "{prompt}", *after),
            prompt=PROMPT,
            pooling="fst_gen",
            max_tokens=min(512, _positions(config)),
        )
    if architecture.endswith("ForConditionalGeneration"):
        return Recipe(
            name=name,
            model="seq2seq",
            attention="joint",
            row_template=(*before, "{prompt}", *after),
            prompt=PROMPT,
            pooling="fst_gen",
        )
    raise CheckpointError(
        f"{name} is a {architecture or 'model of no named architecture'}, which has no "
        "language-model head to answer with; write a recipe for it (inbedder.json)"
    )


def prefix_recipe(name: str, config: dict[str, Any], tokenizer: Tokenizer) -> Recipe:
    """Make the recipe of a prefix model to be trained from an encoder, as the packaged one's is.

    Raises:
        CheckpointError: its tokenizer has no mask token, or puts nothing around a text.
    """
    before, after = _special_tokens(tokenizer)
    mask = next((token for token in MASK_TOKENS if tokenizer.token_to_id(token)), None)
    if mask is None or not before or not after:
        raise CheckpointError(
            f"the tokenizer of {name} has no mask token ({' or '.join(MASK_TOKENS)}) or puts no "
            "tokens around a text; prefix attention needs both"
        )
    positions = min(512, _positions(config))
    return Recipe(
        name=name,
        text_template=(*before, "{text}", *after),
        question_template=("{question}", after[0], mask),
        answer_token=mask,
        head="mlm",
        general="mean",
        max_text_tokens=min(224, positions // 2),
        max_positions=positions,
        first_position=2 if config.get("model_type") in ROBERTA else 0,
        question_token_type=1 if int(config.get("type_vocab_size") or 1) > 1 else 0,
    )


def _special_tokens(tokenizer: Tokenizer) -> tuple[list[str], list[str]]:
    """Return the special tokens that a tokenizer puts before and after a text."""
    bare = tokenizer.encode("a", add_special_tokens=False).tokens
    whole = tokenizer.encode("a", add_special_tokens=True).tokens
    start = next(place for place in range(len(whole)) if whole[place : place + len(bare)] == bare)
    return whole[:start], whole[start + len(bare) :]


def _positions(config: dict[str, Any]) -> int:
    found = int(config.get("max_position_embeddings") or 512)
    # RoBERTa's table has two rows that no token may use.
    return found - 2 if config.get("model_type") in ROBERTA else found
