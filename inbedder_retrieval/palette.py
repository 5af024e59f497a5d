"""Palette: the colours of clusters, alike in a report and in a plot.

Twenty hues of middling lightness, told apart on white and on black, neighbours far from each other;
after them they come again.
"""

from __future__ import annotations

__all__ = ["NOISE_COLOUR", "colour"]

COLOURS = (
    (61, 119, 194),
    (222, 126, 46),
    (62, 152, 95),
    (206, 79, 88),
    (140, 104, 190),
    (38, 156, 168),
    (214, 106, 160),
    (150, 138, 44),
    (148, 100, 74),
    (104, 128, 222),
    (210, 160, 40),
    (28, 140, 128),
    (184, 84, 186),
    (112, 164, 60),
    (230, 110, 110),
    (80, 150, 214),
    (160, 72, 110),
    (104, 130, 104),
    (198, 134, 98),
    (118, 112, 150),
)
NOISE_COLOUR = (136, 138, 142)


def colour(cluster: int) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a cluster's id; grey for noise."""
    return NOISE_COLOUR if cluster < 0 else COLOURS[cluster % len(COLOURS)]
