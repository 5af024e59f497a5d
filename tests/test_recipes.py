"""Published recipes, hand-written ones, and checkpoints that are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from inbedder_retrieval import (
    GENERAL,
    CheckpointError,
    Embedder,
    InputError,
    View,
    ViewError,
    Views,
)
from inbedder_retrieval.checkpoint import find_checkpoint
from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.recipes import PUBLISHED
from tests.architectures import (
    QUESTION,
    TEXTS,
    TOLERANCE,
    build,
    recipe_of,
    tokenizer_of,
)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_recipes_come_back_from_their_file(name: str, tmp_path: Path) -> None:
    PUBLISHED[name].save(tmp_path)
    assert Recipe.load(tmp_path) == PUBLISHED[name]


def test_a_published_recipe_is_the_derived_one_of_its_architecture(
    folders: dict[str, Path],
) -> None:
    """The special tokens of RoBERTa, OPT and Llama are what their tokenizers put around a text."""
    for name, published in (
        ("roberta", "BrandonZYW/roberta-large-InBedder"),
        ("opt", "BrandonZYW/opt-1.3b-InBedder"),
        ("llama", "BrandonZYW/llama-2-7b-InBedder"),
    ):
        derived = find_checkpoint(folders[name]).recipe
        assert derived.row_template == PUBLISHED[published].row_template
        assert derived.prompt == PUBLISHED[published].prompt
        assert derived.pooling == PUBLISHED[published].pooling


def test_the_pair_variant_standardises_the_heads_states(folders: dict[str, Path]) -> None:
    recipe = PUBLISHED["KomeijiForce/inbedder-roberta-large"]
    found = Embedder(folders["roberta"], recipe=recipe).embed(TEXTS[:4], View("f", QUESTION))["f"]
    model = transformers.AutoModelForMaskedLM.from_pretrained(folders["roberta"]).eval()
    tokenizer = tokenizer_of(folders["roberta"])
    for text, vector in zip(TEXTS[:4], found, strict=True):
        pieces, asked = (
            tokenizer(s, add_special_tokens=False)["input_ids"] for s in (text, QUESTION)
        )
        ids = torch.tensor([[0, *pieces, 2, 2, *asked, 4, 4, 4, 2]])
        with torch.inference_mode():
            states = model.roberta(ids).last_hidden_state[0, -4:-1]
            lm = model.lm_head
            mean = lm.layer_norm(torch.nn.functional.gelu(lm.dense(states))).mean(0)
        standard = (mean - mean.mean()) / mean.std()
        assert np.abs(vector - (standard / standard.norm()).numpy()).max() < TOLERANCE


def test_a_model_without_a_language_model_head_is_refused(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "bert")
    config = folder / "config.json"
    config.write_text(config.read_text().replace("BertForMaskedLM", "BertModel"))
    with pytest.raises(CheckpointError, match="BertModel, which has no language-model head"):
        Embedder(folder)


def test_a_masked_model_without_a_mask_token_is_refused(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "bert")
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("<mask>", "<blank>"))
    with pytest.raises(CheckpointError, match="no mask token"):
        Embedder(folder)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    folder = build("bert", tmp_path / "bert")
    config = folder / "config.json"
    found = json.loads(config.read_text()) | {"auto_map": {"AutoModelForMaskedLM": "evil.Model"}}
    config.write_text(json.dumps(found))
    mark = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\nclass Model: ...\n")
    Embedder(folder).embed(["x"], View("f", QUESTION))
    assert not mark.exists()


def test_a_model_of_sliding_windows_is_packed_only_where_rows_are_shorter(tmp_path: Path) -> None:
    folder = build("qwen", tmp_path / "qwen")
    config = folder / "config.json"
    found = json.loads(config.read_text())
    found |= {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 0}
    config.write_text(json.dumps(found))
    with pytest.raises(CheckpointError, match="looks 64 tokens far"):
        Embedder(folder)


@pytest.mark.parametrize(
    ("name", "kind", "attention", "pooling"),
    [("roberta", "encoder", "joint", "avg_all"), ("qwen", "causal", "causal", "fst_gen")],
)
def test_general_embedders_take_an_instruction_or_none(
    folders: dict[str, Path], name: str, kind: str, attention: str, pooling: str
) -> None:
    """As E5-instruct and Qwen3-Embedding are used: a mean, or the closing token's state."""
    before = ("<s>",) if name == "roberta" else ()
    recipe = Recipe.model_validate(
        {
            "name": name,
            "model": kind,
            "attention": attention,
            "row_template": (*before, "{prompt}", "</s>"),
            "prompt": "Instruct: {question}\nQuery: {text}",
            "general_prompt": "{text}",
            "pooling": pooling,
            "new_tokens": 0,
        }
    )
    text = "the phone is broken, love the lamp"
    views = Views([GENERAL, View("feeling", QUESTION)])
    found = Embedder(folders[name], recipe=recipe).embed([text, "x"], views)
    model = transformers.AutoModel.from_pretrained(folders[name]).eval()
    tokenizer = tokenizer_of(folders[name])
    prompts = {"general": text, "feeling": f"Instruct: {QUESTION}\nQuery: {text}"}
    for view, prompt in prompts.items():
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        row = torch.tensor([[*[0] * len(before), *ids, 2]])
        with torch.inference_mode():
            states = model(row).last_hidden_state[0]
        vector = states.mean(0) if pooling == "avg_all" else states[-1]
        assert np.abs(found[view][0] - (vector / vector.norm()).numpy()).max() < TOLERANCE


def test_a_question_that_leaves_no_room_is_refused(folders: dict[str, Path]) -> None:
    embedder = Embedder(folders["llama"], recipe=recipe_of(folders["llama"]))
    with pytest.raises(ViewError, match=r"question of view 'long' alone makes a prompt of \d+"):
        embedder.embed(["x"], View("long", "why and how? " * 100))
    with pytest.raises(ViewError, match="has no general view"):
        embedder.embed(["x"], GENERAL)
    with pytest.raises(InputError, match="general view asks nothing"):
        embedder.answer(["x"], GENERAL)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("roberta", "BrandonZYW/roberta-large-InBedder"),
        ("roberta", "KomeijiForce/inbedder-roberta-large"),
        ("opt", "BrandonZYW/opt-1.3b-InBedder"),
        ("opt", "BrandonZYW/opt-2.7b-InBedder"),
        ("llama", "BrandonZYW/llama-2-7b-InBedder"),
    ],
)
def test_published_checkpoints_get_their_recipe_by_name(
    folders: dict[str, Path], name: str, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is out of reach here, so a tiny checkpoint is what it hands out."""
    asked: list[str] = []

    def download(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append(repository)
        assert not any("bin" in pattern or "py" in pattern for pattern in allow_patterns)
        return str(folders[name])

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    embedder = Embedder(published)
    assert asked == [published]
    assert embedder.name == published
    assert embedder.recipe == PUBLISHED[published]
    assert embedder.embed(["x"], View("f", QUESTION))["f"].shape == (1, 32)


def test_a_checkpoint_in_several_files_is_one(folders: dict[str, Path], tmp_path: Path) -> None:
    whole = folders["llama"]
    model = transformers.AutoModelForCausalLM.from_pretrained(whole)
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    shutil.copy(whole / "tokenizer.json", tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    view = View("f", QUESTION)
    split, one = Embedder(tmp_path), Embedder(whole)
    vectors = split.embed(["the phone"], view)["f"]
    assert np.array_equal(vectors, one.embed(["the phone"], view)["f"])
    assert split.explain(vectors) == one.explain(vectors)


def test_a_tokenizer_in_older_files_is_converted(folders: dict[str, Path], tmp_path: Path) -> None:
    """As OPT is published: vocab.json and merges.txt, and no tokenizer.json."""
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        shutil.copy(folders["opt"] / name, tmp_path)
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json, nor vocab\.json"):
        Embedder(tmp_path)
    find_checkpoint(folders["opt"]).tokenizer().model.save(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "GPT2Tokenizer",
                "bos_token": "</s>",
                "eos_token": "</s>",
                "pad_token": "<pad>",
                "unk_token": "<unk>",
            }
        )
    )
    recipe = PUBLISHED["BrandonZYW/opt-1.3b-InBedder"]
    view = View("f", QUESTION)
    found = Embedder(tmp_path, recipe=recipe).embed(TEXTS[:5], view)["f"]
    expected = Embedder(folders["opt"], recipe=recipe).embed(TEXTS[:5], view)["f"]
    plain = [index for index, text in enumerate(TEXTS[:5]) if "<" not in text]
    assert np.abs(found - expected)[plain].max() < TOLERANCE


def test_a_decoder_without_a_first_token_is_refused(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders["t5"], tmp_path / "t5"))
    config = json.loads((folder / "config.json").read_text())
    del config["decoder_start_token_id"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="names no token that its decoder begins with"):
        Embedder(folder).embed(["x"], View("f", QUESTION))


def test_another_model_that_embeds_the_answers_is_another_model(
    folders: dict[str, Path], tiny_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "tiny"))
    recipe = recipe_of(folders["llama"], pooling="re_encode", re_encoder=str(folder))
    before = Embedder(folders["llama"], recipe=recipe).fingerprint
    own = Recipe.load(folder)
    own.model_copy(update={"max_text_tokens": 30}).save(folder)
    assert Embedder(folders["llama"], recipe=recipe).fingerprint != before
