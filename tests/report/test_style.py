from itertools import combinations

import matplotlib
import numpy as np
import pytest

from jacexp.report.paper import METHOD_NAMES, METHODS
from jacexp.report.style import LOOKS, WIDTH, column_style, figure

# How a screen's linear RGB looks without one kind of cone: Machado, Oliveira and Fernandes 2009, severity 1.
SEEN = {
    "all cones": np.eye(3),
    "no long cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no middle cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "no short cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
)
WHITE = TO_XYZ @ np.ones(3)


def lab(color: str, seen) -> np.ndarray:
    """A colour in CIELAB, in which a distance of about 2 is just noticeable."""
    srgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    t = TO_XYZ @ np.clip(np.asarray(seen) @ linear, 0, 1) / WHITE
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("methods", [METHODS["P1"], (*METHODS["P2"], "analytical")], ids=["P1", "P2"])
def test_colours_stay_apart_whatever_cones_one_has(seen, methods):
    for a, b in combinations(methods, 2):
        distance = np.linalg.norm(lab(LOOKS[a].color, SEEN[seen]) - lab(LOOKS[b].color, SEEN[seen]))
        assert distance > 15, (a, b)


def test_markers_tell_methods_apart_without_colour():
    assert len({look.marker for look in LOOKS.values()}) == len(LOOKS)
    assert len({look.color for look in LOOKS.values()}) == len(LOOKS)
    assert set(METHODS["P1"]) | set(METHODS["P2"]) <= set(LOOKS)
    assert set(METHOD_NAMES) == set(LOOKS)


def test_the_style_is_the_same_whatever_matplotlibrc_says():
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "figure.dpi": 7}), column_style():
        assert (matplotlib.rcParams["font.size"], matplotlib.rcParams["figure.dpi"]) == (7, 300)
        assert figure(2).get_figwidth() == WIDTH == 3.25
    assert matplotlib.rcParams["pdf.fonttype"] == matplotlib.rcParamsDefault["pdf.fonttype"]
