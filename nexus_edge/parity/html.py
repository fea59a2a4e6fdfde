"""The report as one self-contained HTML page: no scripts, no fonts, no pictures from elsewhere."""

from dataclasses import dataclass

from nexus_edge.parity.markdown import WEIGHTS_NOTE, gate_text, rung_line, status_text
from nexus_edge.parity.metrics import METRICS
from nexus_edge.parity.plots import layer_drift, stage_bars
from nexus_edge.parity.report import Report, Rung, utilisation

# The price of the scheme, in the order in which a reader asks for it.
HEADLINES = ("exact_match", "exact_match_reference", "top1_agreement", "kl", "perplexity_delta", "cosine")


@dataclass(frozen=True)
class Tile:
    """One headline number of P4, with the case it was measured on."""

    label: str
    value: str
    case: str


def tiles(report: Report) -> list[Tile]:
    """The worst value of each headline metric at the end of P4.

    From the held-out questions alone where there are some: they are what the checkpoint was trained to read, and the
    ladder's own prompts may not be.
    """
    checks = [check for rung in report.rungs if rung.name == "P4" for check in rung.checks]
    ends = [check for check in checks if check.stage == "held-out questions"]
    ends = ends or [check for check in checks if check.stage == "logits"]
    found = []
    for name in HEADLINES:
        measured = [check for check in ends if name in check.measures]
        if measured:
            pick = min if METRICS[name].higher_is_better else max
            worst = pick(measured, key=lambda check: check.measures[name])
            found.append(Tile(METRICS[name].label, _number(name, worst.measures[name]), worst.case))
    return found


def _number(name: str, value: float) -> str:
    shares = ("exact_match", "exact_match_reference", "top1_agreement")
    if name in shares:
        return f"{value:.1%}"
    return f"{value:+.2%}" if name == "perplexity_delta" else f"{value:.4g}"


def _meter(rung: Rung) -> float:
    """Width in percent of a rung's meter: the share of its tolerance that the tightest gate uses."""
    tightest = rung.tightest
    return 0.0 if tightest is None else min(100.0, 100.0 * utilisation(tightest))


def to_html(report: Report) -> str:
    """Render `report.html.j2`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nexus_edge.parity", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        weights_note=WEIGHTS_NOTE.get(report.weights, report.weights),
        tiles=tiles(report),
        stage_bars=stage_bars(report),
        layer_drift=layer_drift(report),
        metrics=METRICS,
        rung_line=rung_line,
        gate_text=gate_text,
        status_text=status_text,
        meter=_meter,
    )
