from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from inbedder_retrieval import CheckpointError
from inbedder_retrieval.checkpoint import PACKAGED_MODELS, find_checkpoint


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint to change."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_packaged_model_is_found_by_name() -> None:
    found = find_checkpoint("inbedder-minilm")
    assert found.folder == PACKAGED_MODELS / "inbedder-minilm"
    assert found.dimension == 384


def test_a_folder_is_found_by_path_and_by_text(tiny_folder: Path) -> None:
    by_path, by_text = find_checkpoint(tiny_folder), find_checkpoint(str(tiny_folder))
    assert by_path == by_text
    assert (by_path.folder, by_path.dimension, by_path.recipe.name) == (tiny_folder, 32, "tiny")


def test_a_folder_is_known_by_a_path_that_finds_it_from_anywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert find_checkpoint("copy").name == find_checkpoint(Path("copy")).name == str(folder)


def test_a_hub_name_fetches_only_files_that_hold_no_code(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[str]]] = []

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(tiny_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    found = find_checkpoint("someone/tiny")
    assert (found.name, found.folder) == ("someone/tiny", tiny_folder)
    [(name, patterns)] = asked
    assert name == "someone/tiny"
    endings = {pattern.rsplit(".", 1)[1] for pattern in patterns}
    assert endings == {"json", "safetensors", "onnx", "txt", "model"}


def test_a_hub_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(CheckpointError, match=r"neither a folder here nor .* the hub: no route"):
        find_checkpoint("someone/tiny")


@pytest.mark.parametrize(
    "name", ["inbedder-maxi", Path("someone/tiny"), "/nowhere/at/all", "a b/c", "a\0b", "x" * 300]
)
def test_a_name_that_is_nothing_lists_the_packaged_models(
    name: str | Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        pytest.fail("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(CheckpointError, match=r"there is no model .*\(inbedder-minilm\)"):
        find_checkpoint(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "config.json cannot be read"),
        ("{}", "config.json does not say hidden_size"),
        ('{"hidden_size": 32}', "config.json does not say vocab_size"),
        ("5", "config.json"),
    ],
)
def test_a_broken_configuration_is_refused(folder: Path, content: str, message: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        find_checkpoint(folder)


def test_a_missing_configuration_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        find_checkpoint(folder)


def test_weights_that_can_run_code_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor model\.onnx"):
        find_checkpoint(folder)


def test_a_graph_that_does_not_say_which_weights_it_is_of_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.onnx")
    with pytest.raises(CheckpointError, match="does not say which weights it was made from"):
        find_checkpoint(folder)


def test_a_copy_elsewhere_has_the_same_fingerprint(tiny_folder: Path, folder: Path) -> None:
    change(folder / "inbedder.json", name="renamed", answer_norm=7.0)
    (folder / "model.onnx").write_bytes(b"made of the same weights")
    assert find_checkpoint(folder).fingerprint == find_checkpoint(tiny_folder).fingerprint


@pytest.mark.parametrize("place", [0, -1])
def test_other_weights_have_another_fingerprint(
    tiny_folder: Path, folder: Path, place: int
) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert find_checkpoint(folder).fingerprint != find_checkpoint(tiny_folder).fingerprint


@pytest.mark.parametrize("place", [0, -1])
def test_large_weights_are_sampled_from_the_first_byte_to_the_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr("inbedder_retrieval.checkpoint.SAMPLE_BYTES", 16)
    before = find_checkpoint(folder).fingerprint
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert find_checkpoint(folder).fingerprint != before


def test_another_prompt_has_another_fingerprint(tiny_folder: Path, folder: Path) -> None:
    change(folder / "inbedder.json", question_template=["[SEP]", "{question}", "[MASK]"])
    assert find_checkpoint(folder).fingerprint != find_checkpoint(tiny_folder).fingerprint


def test_another_tokenizer_has_another_fingerprint(tiny_folder: Path, folder: Path) -> None:
    """The same weights under other token ids give vectors that may not be compared."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["refund"], vocabulary["phone"] = vocabulary["phone"], vocabulary["refund"]
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    assert find_checkpoint(folder).fingerprint != find_checkpoint(tiny_folder).fingerprint


def test_the_tokenizer_neither_pads_nor_cuts(tiny_folder: Path) -> None:
    tokenizer = find_checkpoint(tiny_folder).tokenizer()
    assert len(tokenizer.encode("a").ids) == 1
    assert len(tokenizer.encode("a " * 50).ids) == 50


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"])
def test_a_broken_tokenizer_is_refused(folder: Path, content: bytes | None) -> None:
    path = folder / "tokenizer.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"tokenizer\.json cannot be read|has no tokenizer\.json"
    ):
        find_checkpoint(folder).tokenizer()


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(folder: Path) -> None:
    change(folder / "config.json", vocab_size=90)
    with pytest.raises(CheckpointError, match="embeddings for 90; use the tokenizer"):
        find_checkpoint(folder).tokenizer()
