"""Plot: the maps of a report as one PNG, SVG or PDF, for papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inbedder_retrieval.clusters import NOISE, Clusters
from inbedder_retrieval.corpus import Corpus
from inbedder_retrieval.errors import InputError, MissingExtraError
from inbedder_retrieval.palette import colour

__all__ = ["PLOTS", "check_plot", "write_plot"]

PLOTS = (".png", ".svg", ".pdf")
INCHES = 5.0
DPI = 200
# More points than these are pixels within an SVG or PDF, which would else take minutes to open.
AS_PIXELS = 5_000
MAX_NAMES = 20


def check_plot(path: str | Path) -> None:
    """Refuse a file whose ending names no picture.

    Raises:
        InputError: it is not .png, .svg or .pdf.
    """
    if Path(path).suffix.lower() not in PLOTS:
        raise InputError(f"the plot is to be {path}; give a name that ends in {', '.join(PLOTS)}")


def write_plot(
    path: str | Path,
    corpus: Corpus,
    clusters: Sequence[Clusters],
    maps: Mapping[str, NDArray[np.float32]],
) -> None:
    """Draw the map of each view beside the others, coloured and named by its clusters.

    Args:
        path: .png, .svg or .pdf.
        maps: places (N, 2), 0 to 1, by view name (see `layout`).

    Raises:
        InputError: another kind of file, or no view.
        MissingExtraError: matplotlib is not installed.
    """
    check_plot(path)
    if not clusters:
        raise InputError("a plot needs the clusters of one view at least")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("plots", "cluster") from error
    # The same data give the same file; text stays text.
    with rc_context({"svg.hashsalt": "inbedder", "svg.fonttype": "none"}):
        figure = Figure(figsize=(INCHES * len(clusters), INCHES + 0.4), layout="constrained")
        axes = figure.subplots(1, len(clusters), squeeze=False)[0]
        size = max(1.0, min(30.0, 6_000 / len(corpus.documents)))
        for axis, found in zip(axes, clusters, strict=True):
            places = maps[found.view]
            labels = np.array([found.labels[document.id] for document in corpus.documents])
            axis.scatter(
                places[:, 0],
                places[:, 1],
                s=size,
                c=[tuple(part / 255 for part in colour(label)) for label in labels.tolist()],
                alpha=np.where(labels == NOISE, 0.3, 0.8),
                linewidths=0,
                rasterized=len(places) > AS_PIXELS,
            )
            for one in found.clusters[:MAX_NAMES]:
                middle = np.median(places[labels == one.id], axis=0)
                axis.text(
                    *middle,
                    # A dollar sign would begin a formula.
                    one.name.replace("$", r"\$"),
                    ha="center",
                    va="center",
                    fontsize=8,
                    bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
                )
            title = found.view if found.instruction is None else found.instruction
            axis.set_title(title.replace("$", r"\$"), fontsize=10)
            axis.set_aspect("equal")
            axis.set_xlim(-0.05, 1.05)
            axis.set_ylim(-0.05, 1.05)
            axis.set_axis_off()
        metadata = {"Date": None} if Path(path).suffix.lower() == ".svg" else None
        figure.savefig(path, dpi=DPI, metadata=metadata)
