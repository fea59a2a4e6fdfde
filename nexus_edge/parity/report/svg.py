"""What all plots of a report share: colours, an empty figure, and the way to inline SVG."""

import io
from typing import TYPE_CHECKING

from nexus_edge._telemetry import without_font_cache

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, FAILED = "#1c2733", "#66727f", "#e3e7eb", "#c8372d"
RUNG_COLOURS = {"P1": "#7d8b99", "P2": "#2a78b5", "P3": "#1b9e77", "P4": "#d98a00", "P5": "#8457b8"}
THEMED = {INK: "ink", MUTED: "muted", GRID: "line", "#ffffff": "card"}
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}  # behind text that a line would cross


def to_svg(figure: "Figure") -> str:
    """The figure as an <svg> element."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    # Text stays text: smaller, searchable, and in the font of the page. A fixed salt keeps the ids, so files compare.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "nexus-edge", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    # Inline, so the page's own colours apply, which are others in the dark.
    for colour, name in THEMED.items():
        text = text.replace(colour, f"var(--{name})")
    return text[text.index("<svg") :]


def empty_figure(width: float, height: float) -> "Figure":
    """Width and height in inches."""
    with without_font_cache():
        from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def clean(axes: "Axes") -> None:
    """No frame but a thin line below, and quiet ticks."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
