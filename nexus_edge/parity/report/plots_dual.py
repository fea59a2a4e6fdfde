"""Two plots for dual encoders, as inline SVG.

`similarity_maps`: how well each caption fits each image, before and after the scheme, and the difference.
`before_and_after`: accuracy and recall of full precision beside those of the quantized model.
"""

from collections.abc import Sized
from typing import TYPE_CHECKING, Any

import numpy as np

from nexus_edge.parity.metrics import METRICS
from nexus_edge.parity.report.report import Check, Report
from nexus_edge.parity.report.svg import INK, MUTED, RUNG_COLOURS, clean, empty_figure, to_svg
from nexus_edge.parity.samples import Similarities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REFERENCE = "_reference"
"""Ends the name of a measure of full precision; without it, it is the quantized model's."""


def shown_similarities(report: Report) -> Similarities | None:
    """The first that a check carries."""
    return next((c.similarities for rung in report.rungs for c in rung.checks if c.similarities is not None), None)


def similarity_maps(report: Report) -> str | None:
    """SVG, or None where no check carries similarities."""
    shown = shown_similarities(report)
    if shown is None:
        return None
    before, after = np.array(shown.expected), np.array(shown.actual)
    low, high = float(min(before.min(), after.min())), float(max(before.max(), after.max()))
    reach = max(float(np.abs(after - before).max()), 1e-6)
    figure = empty_figure(9.6, 1.1 + 0.24 * len(shown.rows))
    panels: Any = figure.subplots(1, 3, sharey=True)
    for axes, title, values, colours, limits in zip(
        panels,
        ("full precision", "quantized", f"difference, at most {reach:.3f}"),
        (before, after, after - before),
        ("cividis", "cividis", "RdBu"),
        ((low, high), (low, high), (-reach, reach)),
        strict=True,
    ):
        # Not imshow, which would put an image inside of the SVG.
        axes.pcolormesh(values, cmap=colours, vmin=limits[0], vmax=limits[1], edgecolors="white", linewidth=0.6)
        axes.set_title(title, fontsize=11, color=INK, loc="left", fontweight="bold")
        axes.set_xticks(_middles(shown.columns), [str(place + 1) for place in range(len(shown.columns))])
        axes.set_xlabel("caption", fontsize=9, color=MUTED)
        clean(axes)
    for axes, values in zip(panels[:2], (before, after), strict=True):
        _mark_best(axes, values)
    panels[0].set_yticks(_middles(shown.rows), shown.rows)
    panels[0].invert_yaxis()
    return to_svg(figure)


def _middles(cells: Sized) -> "np.ndarray[Any, Any]":
    """Where the cells of a row or column have their middles."""
    return np.arange(len(cells)) + 0.5


def _mark_best(axes: "Axes", values: "np.ndarray[Any, Any]") -> None:
    """A ring on the best caption of each image."""
    best = values.argmax(axis=1)
    axes.plot(best + 0.5, _middles(best), "o", markersize=7, markerfacecolor="none", markeredgecolor="white", mew=1.6)


def before_and_after(report: Report) -> str | None:
    """SVG, or None where nothing was measured of both models."""
    bars = [(check, name) for check in _scheme_checks(report) for name in _pairs(check)]
    if not bars:
        return None
    figure = empty_figure(9.6, 0.8 + 0.5 * len(bars))
    axes = figure.subplots()
    for row, (check, name) in enumerate(bars):
        pairs = ((check.measures[name + REFERENCE], MUTED, -0.18), (check.measures[name], RUNG_COLOURS["P4"], 0.18))
        for value, colour, offset in pairs:
            axes.barh(row + offset, value, height=0.32, color=colour, alpha=0.9)
            axes.text(value + 0.01, row + offset, f"{value:.1%}", va="center", fontsize=9, color=colour)
    labels = [f"{METRICS[name].label}, {check.tensor} ({check.case})" for check, name in bars]
    axes.set_yticks(range(len(bars)), labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.1)
    axes.set_xticks([])
    clean(axes)
    axes.tick_params(axis="y", labelsize=10, labelcolor=INK)
    axes.set_title("grey: full precision, coloured: quantized", fontsize=9, color=MUTED, loc="left")
    return to_svg(figure)


def _scheme_checks(report: Report) -> list[Check]:
    return [check for rung in report.rungs if rung.name == "P4" for check in rung.checks]


def _pairs(check: Check) -> list[str]:
    """Measures that the check has of both models, by the quantized model's name."""
    names = [name.removesuffix(REFERENCE) for name in check.measures if name.endswith(REFERENCE)]
    return [name for name in names if name in check.measures]
