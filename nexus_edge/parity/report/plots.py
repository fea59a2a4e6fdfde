"""The two plots of every HTML report, as inline SVG.

`stage_bars`: how much of its tolerance each stage uses, one bar for each stage of each rung.
`layer_drift`: relative L2 error layer by layer, one panel for each tower; a solid line for what adds up on the way, a
dashed one for each layer alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nexus_edge.parity.report.report import CARRIED, Check, Report, utilisation
from nexus_edge.parity.report.svg import FAILED, GRID, INK, MUTED, PAPER, RUNG_COLOURS, clean, empty_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOWERS = ("vision_encoder", "decoder", "image_encoder", "text_encoder")  # as a model's input passes through them
# Where an exact stage used nothing of its tolerance a logarithmic bar would have no length at all.
SHORTEST, LONGEST = 1e-4, 1e3
WIDE, NARROW = 9.6, 4.4  # inches: for a page, and for a telephone, where the letters stay readable


def worst_by_stage(report: Report) -> dict[tuple[str, str, str], Check]:
    """The check nearest to, or furthest beyond, its limit for each (rung, stage, precision) that is gated, over all
    targets."""
    worst: dict[tuple[str, str, str], Check] = {}
    for rung in report.rungs:
        for check in rung.checks:
            key = (rung.name, check.stage, check.precision)
            if check.value is not None and (key not in worst or utilisation(check) > utilisation(worst[key])):
                worst[key] = check
    return worst


def stage_bars(report: Report, width: float = WIDE) -> str | None:
    """SVG, or None when no rung above P0 has a gated stage. P0 is exact and has nothing to plot.

    Args:
        report: with the checks
        width: of the figure, in inches
    """
    worst = {key: check for key, check in worst_by_stage(report).items() if key[0] in RUNG_COLOURS}
    if not worst:
        return None
    figure = empty_figure(width, 0.9 + 0.3 * len(worst))
    axes = figure.subplots()
    for row, ((rung, stage, _), check) in enumerate(worst.items()):
        used = min(max(utilisation(check), SHORTEST), LONGEST)
        colour = FAILED if check.status == "failed" else RUNG_COLOURS[rung]
        axes.barh(row, used - SHORTEST / 2, left=SHORTEST / 2, height=0.62, color=colour, alpha=0.9)
        text = f"{check.value:.2g}" + (
            f"   {check.place.removeprefix(stage + ', ')}" if check.status == "failed" else ""
        )
        axes.text(used * 1.2, row, text, va="center", fontsize=9, color=colour, bbox=PAPER)
    axes.set_yticks(range(len(worst)), [_bar_name(*key) for key in worst])
    axes.invert_yaxis()
    axes.set_xscale("log")
    right = max(30.0, max(min(utilisation(check), LONGEST) for check in worst.values()) * 40)
    axes.set_xlim(SHORTEST / 2, right)
    axes.axvline(1.0, color=INK, linewidth=1.1)
    axes.text(1.0, -0.72, "limit", ha="center", va="bottom", fontsize=9, color=INK, bbox=PAPER)
    every = 1 if width == WIDE else 2
    ticks = [tick for tick in (1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1000)[::every] if tick < right]
    axes.set_xticks(ticks, [f"{tick:g}x" if tick >= 1 else f"{100 * tick:g} %" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    label = "share of the tolerance that is used" + (" (number: the measured value)" if width == WIDE else "")
    axes.set_xlabel(label, fontsize=9, color=MUTED)
    clean(axes)
    axes.tick_params(axis="y", labelsize=10, labelcolor=INK)
    return to_svg(figure)


def _bar_name(rung: str, stage: str, precision: str) -> str:
    return f"{rung}  {stage}" + (f", {precision}" if precision else "")


@dataclass(frozen=True)
class Line:
    """Relative L2 error by layer for one rung, the worst over cases, tensors and targets.

    `carried`: every layer worked on what the layer before it made, and errors add up; else on the reference's values.
    """

    rung: str
    carried: bool
    errors: Mapping[int, float]
    failed: frozenset[int]


def drift(report: Report) -> Mapping[str, list[Line]]:
    """Lines by tower, in the order in which inputs pass through the towers."""
    errors: dict[str, dict[tuple[str, bool], dict[int, float]]] = {stage: {} for stage in TOWERS}
    failed: dict[str, dict[tuple[str, bool], set[int]]] = {stage: {} for stage in TOWERS}
    for rung in report.rungs:
        for check in rung.checks:
            tower = check.stage.removesuffix(CARRIED)
            if check.layer is None or tower not in TOWERS or "relative_l2" not in check.measures:
                continue
            # P1 and P4 let both models run freely, so their layers are always carried.
            key = (rung.name, check.stage != tower or rung.name in ("P1", "P4"))
            layers = errors[tower].setdefault(key, {})
            layers[check.layer] = max(layers.get(check.layer, 0.0), check.measures["relative_l2"])
            if check.status == "failed":
                failed[tower].setdefault(key, set()).add(check.layer)
    return {
        tower: [Line(*key, layers, frozenset(failed[tower].get(key, ()))) for key, layers in lines.items()]
        for tower, lines in errors.items()
        if lines
    }


def layer_drift(report: Report, width: float = WIDE) -> str | None:
    """SVG, or None when nothing was measured layer by layer; the towers side by side, or below each other if narrow."""
    panels = drift(report)
    if not panels:
        return None
    narrow = width < WIDE
    figure = empty_figure(width, 3.0 * len(panels) if narrow else 3.8)
    shape = (len(panels), 1) if narrow else (1, len(panels))
    grid: Any = figure.subplots(*shape, sharey=True, squeeze=False).ravel()
    for axes, (tower, lines) in zip(grid, panels.items(), strict=True):
        for line in lines:
            _draw(axes, line)
        _name_lines(axes, [line for line in lines if line.carried])
        axes.set_title(tower, fontsize=11, color=INK, loc="left", fontweight="bold")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_xlabel("layer", fontsize=9, color=MUTED)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.margins(x=0.1, y=0.12)
        clean(axes)
    grid[0].set_ylabel("relative L2 error (worst case)", fontsize=9, color=MUTED)
    return to_svg(figure)


def _height(error: float) -> float:
    """A logarithmic axis has no zero: an exact layer is drawn at float32's rounding, which is what it is equal to."""
    return min(max(error, 6e-8), 1e3)


def _draw(axes: "Axes", line: Line) -> None:
    xs = sorted(line.errors)
    ys = [_height(line.errors[x]) for x in xs]
    colour = RUNG_COLOURS.get(line.rung, MUTED)
    if line.carried:
        axes.plot(xs, ys, color=colour, linewidth=2, marker="o", markersize=5, solid_capstyle="round")
    else:
        axes.plot(xs, ys, color=colour, linewidth=1, linestyle=(0, (4, 3)), marker="o", markersize=2.5, alpha=0.75)
    rings = [(x, _height(line.errors[x])) for x in sorted(line.failed)]
    if rings:
        axes.plot(*zip(*rings, strict=True), "o", markersize=11, markerfacecolor="none", markeredgecolor=FAILED, mew=2)


def _name_lines(axes: "Axes", lines: list[Line]) -> None:
    """The rung's name at the end of each line, pushed apart where lines end close together."""
    lowest = -math.inf
    for line in sorted(lines, key=lambda line: line.errors[max(line.errors)]):
        last = max(line.errors)
        exponent = math.log10(_height(line.errors[last]))
        place = max(exponent, lowest + 0.42)
        lowest = place
        colour = RUNG_COLOURS.get(line.rung, MUTED)
        right = max(max(other.errors) for other in lines)
        axes.annotate(
            line.rung,
            (right, 10**place),
            (9, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=10,
            fontweight="bold",
        )
