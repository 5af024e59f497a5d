"""Plots: files of the kind that was asked for, the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from inbedder_retrieval import InputError
from inbedder_retrieval.cluster import cluster
from inbedder_retrieval.corpus import Corpus
from inbedder_retrieval.mapping import layout
from inbedder_retrieval.palette import NOISE_COLOUR, colour
from inbedder_retrieval.plot import write_plot


def test_a_plot_shows_each_cluster_in_its_colour_with_its_name(
    blobbed: Corpus, tmp_path: Path
) -> None:
    found, maps = [cluster(blobbed, "which", k=3)], {"which": layout(blobbed.of("which"))}
    for kind in ("png", "svg", "pdf"):
        write_plot(tmp_path / f"map.{kind}", blobbed, found, maps)
    text = (tmp_path / "map.svg").read_text()
    for one in found[0].clusters:
        assert one.name in text
        assert "#{:02x}{:02x}{:02x}".format(*colour(one.id)) in text
    assert "Which one?" in text
    assert (tmp_path / "map.pdf").read_bytes().startswith(b"%PDF")
    pixels = imread(tmp_path / "map.png")
    assert pixels.shape[0] > 900
    assert float(np.ptp(pixels)) > 0.5
    write_plot(tmp_path / "again.svg", blobbed, found, maps)
    assert (tmp_path / "again.svg").read_text() == text


@pytest.mark.parametrize("name", ["map.jpg", "map", "map.html"])
def test_another_kind_of_file_is_refused(blobbed: Corpus, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.png"):
        write_plot(tmp_path / name, blobbed, [], {})


def test_noise_is_grey_and_colours_come_again() -> None:
    assert colour(-1) == NOISE_COLOUR
    assert colour(0) == colour(20) != colour(1)
