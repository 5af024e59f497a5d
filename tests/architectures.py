"""Tiny random checkpoints of every architecture, and what plain transformers makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.recipe import Recipe

PROMPT = "### Input:\n{text}\n\n### Instruction:\n{question}\n\n### Response:"
CORPUS = [
    PROMPT,
    "How does the customer feel? What does the customer need? Which product is it about?",
    "the phone is broken and late, where is my refund, love the lamp, thank you, happy, angry",
]
SIZE: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA: dict[str, Any] = SIZE | {"intermediate_size": 48, "num_key_value_heads": 2}
# Class, settings, tokens before and after a text, mask token.
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], list[str], list[str], str | None]] = {
    "bert": ("BertForMaskedLM", SIZE | {"intermediate_size": 48}, ["<s>"], ["</s>"], "<mask>"),
    "roberta": (
        "RobertaForMaskedLM",
        SIZE | {"intermediate_size": 48, "max_position_embeddings": 514, "type_vocab_size": 1},
        ["<s>"],
        ["</s>"],
        "<mask>",
    ),
    "modernbert": (
        "ModernBertForMaskedLM",
        SIZE | {"intermediate_size": 48, "local_attention": 32, "global_attn_every_n_layers": 2},
        ["<s>"],
        ["</s>"],
        "<mask>",
    ),
    "opt": (
        "OPTForCausalLM",
        SIZE | {"ffn_dim": 48, "word_embed_proj_dim": 32, "max_position_embeddings": 512},
        ["</s>"],
        [],
        None,
    ),
    "llama": ("LlamaForCausalLM", LLAMA, ["<s>"], [], None),
    "qwen": ("Qwen3ForCausalLM", LLAMA | {"head_dim": 8}, [], [], None),
    "t5": (
        "T5ForConditionalGeneration",
        {"d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4},
        [],
        ["</s>"],
        None,
    ),
}
MASKED = ("bert", "roberta", "modernbert")
CAUSAL = ("opt", "llama", "qwen")
QUESTION = "How does the customer feel?"
TOLERANCE = 1e-5
TEXTS = [
    "the phone is broken",
    "a <mask> in the text, <mask><mask>",
    "  spaces before, newlines after \n\n",
    "love it \U0001f600\U0001f44d\U0001f3fd, très bien",
    "",
    "x",
    "{question} and {text}, said the customer",
    " ".join(f"word{k} lamp" for k in range(1000)),
]
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def build(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a random checkpoint of an architecture, with a byte-level BPE tokenizer."""
    head, settings, before, after, _ = ARCHITECTURES[name]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIALS])
    ids = [(token, tokenizer.token_to_id(token)) for token in SPECIALS]
    single = " ".join([*before, "$A", *after])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=f"{single} $B", special_tokens=ids
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    model_class = getattr(transformers, head)
    config = model_class.config_class(
        vocab_size=tokenizer.get_vocab_size(),
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        **({"decoder_start_token_id": 1} if name == "t5" else {}),
        **({"cls_token_id": 0, "sep_token_id": 2} if name == "modernbert" else {}),
        **settings,
    )
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # Large enough that texts differ; gains and offsets stay near one and zero.
            noise = torch.randn_like(parameter)
            parameter.copy_(0.3 * noise if parameter.dim() > 1 else parameter + 0.1 * noise)
    model.save_pretrained(folder)
    return folder


def recipe_of(folder: Path, **changes: object) -> Recipe:
    """The derived recipe with changes, checked again as a whole."""
    derived = find_checkpoint(folder).recipe
    return Recipe.model_validate(derived.model_dump() | {"max_tokens": 160} | changes)


def tokenizer_of(folder: Path) -> PreTrainedTokenizerFast:
    fast: Any = PreTrainedTokenizerFast
    return cast(
        "PreTrainedTokenizerFast",
        fast(
            tokenizer_file=str(folder / "tokenizer.json"),
            mask_token="<mask>",
            pad_token="<pad>",
            eos_token="</s>",
        ),
    )


@torch.inference_mode()
def plain_vectors(
    name: str, folder: Path, recipe: Recipe, texts: Sequence[str], question: str
) -> NDArray[np.float32]:
    """Return unit vectors (N, H): one text at a time, nothing padded, packed or cached."""
    head, _, _, _, mask = ARCHITECTURES[name]
    model = getattr(transformers, head).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    model.eval()
    tokenizer = tokenizer_of(folder)
    layer = -1 if recipe.layer is None else recipe.layer
    found = []
    for text in texts:
        ids = _ids(tokenizer, recipe, text, question, mask)
        if name == "t5":
            states = _t5(model, tokenizer, recipe, ids, layer)
        elif name in MASKED:
            states = _masked(model, recipe, ids, layer)
        else:
            states = _causal(model, tokenizer, recipe, ids, layer)
        vector = states.mean(0)
        if recipe.standardize:
            vector = (vector - vector.mean()) / vector.std()
        found.append((vector / vector.norm()).numpy())
    return np.stack(found)


def _ids(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, text: str, question: str, mask: str | None
) -> list[int]:
    start, end = recipe.prompt.replace("{question}", question).split("{text}")
    masks = (mask or "") * 3
    ids: list[int] = tokenizer(start + text + end + masks)["input_ids"]
    excess = len(ids) - recipe.max_tokens
    if excess <= 0:
        return ids
    special = len(tokenizer("")["input_ids"]) - len(_closing(tokenizer))
    begin = special + len(tokenizer(start, add_special_tokens=False)["input_ids"])
    if recipe.cut == "start":
        return ids[:begin] + ids[begin + excess :]
    tail = tokenizer(end + masks, add_special_tokens=False)["input_ids"]
    stop = len(ids) - len(tail) - len(_closing(tokenizer))
    return ids[: stop - excess] + ids[stop:]


def _closing(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    whole: list[int] = tokenizer("a")["input_ids"]
    place = whole.index(tokenizer("a", add_special_tokens=False)["input_ids"][0])
    return whole[place + 1 :]


def _masked(model: Any, recipe: Recipe, ids: list[int], layer: int) -> Any:
    output = model(torch.tensor([ids]), output_hidden_states=True)
    states = output.hidden_states[layer][0]
    if recipe.pooling == "avg_ppt":
        return torch.cat([states[:-4]])
    if recipe.pooling == "avg_all":
        return states
    # The three masks stand before the closing token, whatever the text holds.
    slots = states[-4:-1]
    if recipe.head == "mlm":
        if hasattr(model, "cls"):
            return model.cls.predictions.transform(slots)
        if hasattr(model, "lm_head"):
            lm = model.lm_head
            return lm.layer_norm(torch.nn.functional.gelu(lm.dense(slots)))
        return model.head(slots)
    return slots


def _causal(
    model: Any, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, ids: list[int], layer: int
) -> Any:
    new: list[int] = []
    for _ in range(
        recipe.new_tokens if recipe.pooling in ("avg_gen", "last_gen", "avg_all") else 0
    ):
        logits = model(torch.tensor([ids + new])).logits[0, -1]
        new.append(int(logits.argmax()))
        if new[-1] == tokenizer.eos_token_id:
            break
    states = model(torch.tensor([ids + new]), output_hidden_states=True).hidden_states[layer][0]
    prompt, grown = states[: len(ids)], states[len(ids) :]
    special = set(tokenizer.all_special_ids) | {0, 3}
    # As the authors pool: the state at a token counts when the one it predicts is a word.
    words = [k for k in range(len(new) - 1) if new[k + 1] not in special]
    words = words or ([0] if len(new) > 1 else [])
    if recipe.pooling == "fst_gen":
        return prompt[-1:]
    if recipe.pooling == "avg_ppt":
        return prompt[:-1]
    if recipe.pooling == "last_gen":
        return grown[words[-1:]] if words else prompt[-1:]
    if recipe.pooling == "avg_gen":
        return torch.cat([prompt[-1:], grown[words]])
    return torch.cat([prompt, grown[words]])


def _t5(
    model: Any, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, ids: list[int], layer: int
) -> Any:
    inputs = torch.tensor([ids])
    if recipe.pooling == "avg_ppt":
        return model.encoder(inputs, output_hidden_states=True).hidden_states[layer][0]
    new = [1]
    for _ in range(recipe.new_tokens):
        logits = model(input_ids=inputs, decoder_input_ids=torch.tensor([new])).logits[0, -1]
        new.append(int(logits.argmax()))
        if new[-1] == tokenizer.eos_token_id:
            break
    output = model(
        input_ids=inputs, decoder_input_ids=torch.tensor([new[:-1]]), output_hidden_states=True
    )
    states = output.decoder_hidden_states[layer][0]
    special = set(tokenizer.all_special_ids) | {0, 3}
    words = [k for k in range(len(new) - 1) if new[k + 1] not in special] or [0]
    if recipe.pooling == "fst_gen":
        return states[:1]
    return states[words[-1:]] if recipe.pooling == "last_gen" else states[words]
