"""Curve: the losses of a training's steps, read and drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["draw_curve", "ends", "read_curve"]

PARTS = ("loss", "words", "alignment", "distillation", "contrast")


def read_curve(path: str | Path) -> list[dict[str, Any]]:
    """Read `loss.jsonl`, a step a line."""
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


def ends(curve: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the mean loss of the first and of the last twentieth of the steps."""
    losses = np.array([line["loss"] for line in curve])
    count = max(1, len(losses) // 20)
    return float(losses[:count].mean()), float(losses[-count:].mean())


def draw_curve(curve: list[dict[str, Any]], path: str | Path) -> bool:
    """Draw the loss and its parts, smoothed over a fiftieth of the steps, into a PNG file.

    Returns whether it was drawn: it is not where matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    # Without pyplot: no backend is chosen for whoever calls this.
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = np.array([line["step"] for line in curve])
    window = min(len(steps), max(1, len(steps) // 50))
    for part in PARTS:
        if part in curve[0]:
            values = np.array([line[part] for line in curve])
            smooth = np.convolve(values, np.ones(window) / window, mode="valid")
            axes.plot(steps[window - 1 :], smooth, label=part)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    return True
