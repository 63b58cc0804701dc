"""Draw docs/figures/tangents.png: python docs/figures/tangents.py."""

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from jacexp.data import Tangents, load
from jacexp.report.style import column_style

INDEX = 8
"""The test image that is shown."""
ALPHA = 2.0
"""Size of the steps that are shown: pixels, for the scalings and the rotation at the middle of a side."""
ALPHAS = torch.logspace(-3, 0.6, 25).tolist()
LOOKS = {
    "shift_x": ("#0072B2", "-"),
    "shift_y": ("#56B4E9", "--"),
    "scale_x": ("#D55E00", "-"),
    "scale_y": ("#E69F00", "--"),
    "rotation": ("#009E73", "-."),
}


def draw(x: Tensor, tangents: Tangents) -> Figure:
    """Draw one image, (1, C, H, W), its tangents, steps along them beside the real ones, and how far they part."""
    s, t = tangents.smooth(x), tangents(x)[0]
    fig = Figure(figsize=(6.5, 5.2), layout="constrained")
    grid = fig.add_gridspec(4, 6, height_ratios=(1, 1, 1, 1.5))
    show(fig.add_subplot(grid[0, 0]), x[0], "image x", 1.0)
    show(fig.add_subplot(grid[1, 0]), s[0], "smoothed s", 1.0)
    for column, (name, direction) in enumerate(zip(tangents.names, t, strict=True), 1):
        extent = direction.abs().max().item()
        show(fig.add_subplot(grid[0, column]), direction, f"t, {name}", extent, signed=True)
        show(fig.add_subplot(grid[1, column]), s[0] + ALPHA * direction, "s + α t", 1.0)
        show(fig.add_subplot(grid[2, column]), tangents.transform(x, name, ALPHA)[0], "real", 1.0)
    note = fig.add_subplot(grid[2, 0])
    note.axis("off")
    note.text(0, 0.5, f"α = {ALPHA:g} pixels,\nat the border for\nscalings, rotation", va="center")
    errors(fig.add_subplot(grid[3, :]), x, tangents)
    return fig


def show(axes: Axes, image: Tensor, title: str, extent: float, *, signed: bool = False) -> None:
    """Show one channel, black at 0 and white at ``extent``; or, signed, blue below 0 and red above."""
    cmap, least = ("RdBu_r", -extent) if signed else ("gray", 0.0)
    axes.imshow(image[0], cmap=cmap, vmin=least, vmax=extent)
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def errors(axes: Axes, x: Tensor, tangents: Tangents) -> None:
    """Plot how far the real transformation is from the step along its tangent, per unit of alpha."""
    s, t = tangents.smooth(x), tangents(x)
    for k, name in enumerate(tangents.names):
        slopes = [(tangents.transform(x, name, alpha) - s) / alpha for alpha in ALPHAS]
        error = [((slope - t[:, k]).norm() / t[:, k].norm()).item() for slope in slopes]
        color, line = LOOKS[name]
        axes.loglog(ALPHAS, error, color=color, linestyle=line, label=name)
    axes.loglog(ALPHAS[:12], [0.6 * alpha for alpha in ALPHAS[:12]], color="0.6", linewidth=0.8, label="∝ α")
    axes.set(xlabel="α, in pixels", ylabel="‖(real − s)/α − t‖ / ‖t‖")
    axes.legend(ncols=2)


def main() -> None:
    """Draw the figure beside this file."""
    x = load("digits").x_test[[INDEX]].double() / 255
    tangents = Tangents(tuple(x.shape[1:]), unit="half_side", dtype=torch.float64)
    with column_style():
        draw(x, tangents).savefig(Path(__file__).with_suffix(".png"), dpi=200, metadata={"Software": None})


if __name__ == "__main__":
    main()
