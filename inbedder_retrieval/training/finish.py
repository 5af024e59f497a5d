"""Finish: a trained model is written so that `Embedder` loads it, with a card of what was measured.

    model.safetensors config.json tokenizer.json ...    as transformers reads them
    inbedder.json                                       the recipe
    model.onnx                                          int8, of prefix models, behind export's gate
    README.md training.toml training.json loss.png      how it was made; loss.png with matplotlib

A model that fails export's gate is kept without the file, and the report and the card say why.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from inbedder_retrieval.backends.packed import no_progress_bar
from inbedder_retrieval.checkpoint import VOCABULARIES, find_checkpoint
from inbedder_retrieval.errors import ExportError
from inbedder_retrieval.export import export_onnx
from inbedder_retrieval.training.base import DROPOUTS, Base
from inbedder_retrieval.training.card import write_card
from inbedder_retrieval.training.config import TrainConfig
from inbedder_retrieval.training.curve import draw_curve, ends, read_curve
from inbedder_retrieval.training.data import Prepared
from inbedder_retrieval.training.report import REPORT_FILE, ExportFigures, TrainReport
from inbedder_retrieval.views import GENERAL, View, Views

__all__ = ["write_model"]

# What int8 is scaled by and the gates compare on.
EXPORT_TEXTS, EXPORT_QUESTIONS = 300, 6
# What transformers reads beside tokenizer.json.
TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json", *VOCABULARIES, "merges.txt")


def write_model(
    folder: Path,
    model: Any,
    base: Base,
    config: TrainConfig,
    prepared: Prepared,
    report: TrainReport,
) -> TrainReport:
    """Write a trained model into its folder, and return the report with what was measured.

    Raises:
        CheckpointError: what was written does not load again.
    """
    _write_weights(folder, model, base, config)
    base.tokenizer.save(str(folder / "tokenizer.json"))
    for name in TOKENIZER_FILES:
        if (base.folder / name).is_file():
            shutil.copyfile(base.folder / name, folder / name)
    base.recipe.save(folder)
    figures = _export(folder, prepared) if config.kind == "prefix" and config.export else None
    find_checkpoint(folder)
    curve = read_curve(folder / "loss.jsonl")
    first, last = ends(curve)
    measured = {
        "first": first,
        "last": last,
        "seconds": curve[-1]["seconds"],
        "export": figures,
        "finished": True,
    }
    report = report.model_copy(update=measured)
    drawn = draw_curve(curve, folder / "loss.png")
    (folder / REPORT_FILE).write_text(report.model_dump_json(indent=2) + "\n", "utf-8")
    write_card(folder, config, base.recipe, report, drawn=drawn)
    return report


def _write_weights(folder: Path, model: Any, base: Base, config: TrainConfig) -> None:
    dtype: torch.dtype = getattr(torch, config.save_as)
    with no_progress_bar():
        model.to(device="cpu", dtype=dtype).save_pretrained(folder)
    # Dropout is how it was trained, and no part of what it is.
    path = folder / "config.json"
    written = json.loads(path.read_text("utf-8"))
    kept = {
        name: base.checkpoint.config[name] for name in DROPOUTS if name in base.checkpoint.config
    }
    path.write_text(json.dumps(written | kept, indent=2) + "\n", "utf-8")


def _export(folder: Path, prepared: Prepared) -> ExportFigures:
    """Export on texts of the training, under the questions asked most."""
    examples = [*prepared.held_out, *prepared.examples]
    texts = [one.text for one in examples[:: max(1, len(examples) // EXPORT_TEXTS)]][:EXPORT_TEXTS]
    asked = Counter(question for one in examples for question, _ in one.pairs)
    questions = [question for question, _ in asked.most_common(EXPORT_QUESTIONS)]
    views = Views([GENERAL, *(View(f"question-{k}", one) for k, one in enumerate(questions, 1))])
    try:
        done = export_onnx(folder, texts, views)
    except ExportError as error:
        return ExportFigures(refused=str(error))
    return ExportFigures(
        difference=done.difference,
        mean_cosine=done.mean_cosine,
        min_cosine=done.min_cosine,
        bytes=done.bytes,
    )
