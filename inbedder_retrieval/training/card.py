"""Card: the README.md of a trained model, made of its report and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inbedder_retrieval.recipe import Recipe
from inbedder_retrieval.training.config import TrainConfig
from inbedder_retrieval.training.report import TrainReport

__all__ = ["write_card"]

READS = {
    "prefix": (
        "A text token sees the text. A question's tokens and its answer slot see the text and "
        "their own question; all questions of a text share one pass."
    ),
    "joint": "Text, question and answer slots all see each other: a pass for each question.",
    "causal": "A token sees what came before it: the text, then the question.",
}


def write_card(
    folder: Path, config: TrainConfig, recipe: Recipe, report: TrainReport, *, drawn: bool
) -> None:
    """Write a model's card into its folder."""
    late = (
        f" Questions see the text from layer {recipe.reads_from} on, counted from 0."
        if recipe.reads_from
        else ""
    )
    lines = [
        f"# {report.name}",
        "",
        f"An instruction-following text embedder for `inbedder-retrieval`, trained from "
        f"{report.base}.",
        READS[config.kind] + late,
        "",
        *_training(config, report),
        "",
        *_data(report),
        "",
        *_measured(report),
        *(["", "![loss](loss.png)"] if drawn else []),
        "",
        "Nothing else was measured. The licences of the base and of the data hold for this model.",
    ]
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _training(config: TrainConfig, report: TrainReport) -> Iterator[str]:
    yield "## Training"
    yield ""
    rows = f", {config.rows} rows" if config.rows else ""
    yield (
        f"{report.steps} steps ({report.epochs:g} epochs), each of "
        f"{config.accumulation * report.processes} packed batches of at most "
        f"{config.token_budget} tokens{rows}; AdamW, peak "
        f"learning rate {config.learning_rate:g}, {config.warmup:.0%} warm-up, then a cosine; "
        f"{config.precision}, seed {config.seed}; {report.seconds:.0f} s on {report.device}."
    )
    if config.lora is not None:
        yield f"Low-rank adapters of rank {config.lora.rank}, merged into the weights."
    if config.kind == "prefix":
        parts = config.losses
        yield (
            f"Loss: {parts.words:g} x answer words + {parts.alignment:g} x alignment with the "
            f"teacher's embedding of the answer + {parts.distillation:g} x distillation of the "
            f"general vector + {parts.contrast:g} x contrast between answers. The teacher is "
            f"{config.teacher or config.base}."
        )
    yield "`training.toml` has every setting."


def _data(report: TrainReport) -> Iterator[str]:
    yield "## Data"
    yield ""
    yield (
        f"{report.texts} texts, {report.pairs} questions with answers; {report.held_out} more "
        "texts were held out."
    )
    yield ""
    yield "| file | texts | pairs | shown an epoch | broken rows | in evaluation sets | about |"
    yield "|---|---|---|---|---|---|---|"
    for one in report.files:
        yield (
            f"| {one.file} | {one.texts} | {one.pairs} | {one.repeat:g} | {one.bad} | "
            f"{one.contaminated} | {one.about.replace('|', '/')} |"
        )
    yield ""
    texts, questions, answers = report.cut
    yield (
        f"Longer than the model reads, and cut: {texts} texts, {questions} questions, {answers} "
        f"answers. Without an answer in the vocabulary, or too long to ask: {report.dropped} pairs."
    )


def _measured(report: TrainReport) -> Iterator[str]:
    yield "## Measured"
    yield ""
    yield (
        f"Loss while training: {report.first:.3f} on average over the first twentieth of the steps,"
        f" {report.last:.3f} over the last."
    )
    if report.after:
        yield ""
        yield f"On the {report.held_out} texts held out, without dropout:"
        yield ""
        yield "| | before | after |"
        yield "|---|---|---|"
        for name, value in report.after.items():
            yield f"| {name} | {report.before[name]:.3f} | {value:.3f} |"
    if (export := report.export) is None:
        return
    yield ""
    if export.refused is not None:
        yield f"There is no `model.onnx`: {export.refused}."
    else:
        yield (
            f"`model.onnx`: float32 differs from torch by {export.difference:.2g} at most; int8 "
            f"has a mean cosine of {export.mean_cosine:.4f} to float32, {export.min_cosine:.4f} at "
            "least."
        )
