"""The report as one self-contained HTML page: no scripts, no fonts, no images from elsewhere."""

from dataclasses import dataclass

from nexus_edge.parity.intervals import wilson
from nexus_edge.parity.metrics import METRICS
from nexus_edge.parity.report.markdown import gate_text, rung_line, status_text
from nexus_edge.parity.report.plots import NARROW, layer_drift, stage_bars
from nexus_edge.parity.report.plots_dual import before_and_after, shown_similarities, similarity_maps
from nexus_edge.parity.report.report import Check, Report, Rung, utilisation
from nexus_edge.parity.samples import Sample
from nexus_edge.parity.words import MEANING, verdict_sentence

# The price of the scheme: where P4 says it, and the measures in the order in which a reader asks for them. The first
# entry with checks counts: held-out questions are what a checkpoint was trained to read, unlike the ladder's prompts.
HEADLINES = (
    (("held-out questions",), ("exact_match", "exact_match_reference", "top1_agreement", "kl", "perplexity_delta")),
    (("logits",), ("top1_agreement", "kl", "perplexity_delta", "cosine")),
    (
        ("held-out cells", "held-out captions", "top-1", "ranking", "image embeddings", "text embeddings"),
        ("accuracy", "accuracy_reference", "recall_at_5", "flips", "kendall", "cosine"),
    ),
)
SHARES = ("exact_match", "top1_agreement", "accuracy", "recall_at_5", "flips")


COUNTS = {"exact_match": "items", "accuracy": "items", "recall_at_5": "items", "top1_agreement": "decisions"}
"""A share -> the measure that says of how many it is."""
SAMPLES = 12  # shown, the furthest apart first


@dataclass(frozen=True)
class Tile:
    """One headline number of P4, with the case it was measured on, and its interval where it was counted."""

    label: str
    value: str
    case: str
    interval: str = ""


@dataclass(frozen=True)
class Reason:
    """Why a limit is what it is."""

    where: str
    limit: str
    text: str


def tiles(report: Report) -> list[Tile]:
    """The worst value of each headline measure of P4."""
    checks = [check for rung in report.rungs if rung.name == "P4" for check in rung.checks]
    for stages, names in HEADLINES:
        ends = [check for check in checks if check.stage in stages]
        if ends:
            return [_tile(name, ends) for name in names if any(name in check.measures for check in ends)]
    return []


def _tile(name: str, checks: list[Check]) -> Tile:
    measured = [check for check in checks if name in check.measures]
    worst = (min if METRICS[name].higher_is_better else max)(measured, key=lambda check: check.measures[name])
    value = worst.measures[name]
    count = worst.measures.get(COUNTS.get(name.removesuffix("_reference"), ""), 0.0)
    interval = "{:.1%} to {:.1%}".format(*wilson(value, count)) if count >= 1 and 0 <= value <= 1 else ""
    return Tile(METRICS[name].label, _number(name, value), worst.case, interval)


def _number(name: str, value: float) -> str:
    if name.removesuffix("_reference") in SHARES:
        return f"{value:.1%}"
    return f"{value:+.2%}" if name == "perplexity_delta" else f"{value:.4g}"


def samples(report: Report) -> list[Sample]:
    """Those of all checks, the furthest apart first."""
    found = [sample for rung in report.rungs for check in rung.checks for sample in check.samples]
    return sorted(found, key=lambda sample: -sample.distance)[:SAMPLES]


def reasons(report: Report) -> list[Reason]:
    """Every limit once, with its reason and all stages that it holds for."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for rung in report.rungs:
        for check in rung.checks:
            if check.gate is not None:
                metric = METRICS[check.gate.metric]
                limit = f"{metric.label} {'>=' if metric.higher_is_better else '<='} {check.gate.limit:.3g}"
                places.setdefault((rung.name, limit, check.gate.reason), []).append(check.stage)
    return [
        Reason(f"{rung}: {', '.join(dict.fromkeys(stages))}", limit, text)
        for (rung, limit, text), stages in places.items()
    ]


@dataclass(frozen=True)
class Plot:
    """A card with a plot, drawn for wide pages and for narrow ones."""

    title: str
    text: str
    wide: str | None
    narrow: str | None


def _stages(report: Report) -> Plot:
    text = "The worst check of each stage against its gate. A bar that crosses the line has failed."
    return Plot("Stage by stage", text, stage_bars(report), stage_bars(report, NARROW))


def _layers(report: Report) -> Plot:
    text = (
        "Solid: how the error adds up through the towers. Dashed: each layer alone, on the reference's values; this is "
        "what P2 and P3 gate. A ring marks a failed gate."
    )
    return Plot("Layer by layer", text, layer_drift(report), layer_drift(report, NARROW))


def _meter(rung: Rung) -> float:
    """Width in percent of a rung's meter: the share of its tolerance that the tightest gate uses."""
    tightest = rung.tightest
    return 0.0 if tightest is None else min(100.0, 100.0 * utilisation(tightest))


def to_html(report: Report) -> str:
    """Render `report.html.j2`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nexus_edge.parity.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        report=report,
        sentence=verdict_sentence(report),
        meaning=MEANING,
        samples=samples(report),
        reasons=reasons(report),
        sizes=[(name, size) for name, size in report.sizes.items() if size],
        tiles=tiles(report),
        plots=[plot for plot in (_stages(report), _layers(report)) if plot.wide],
        similarity_maps=similarity_maps(report),
        similarities=shown_similarities(report),
        before_and_after=before_and_after(report),
        metrics=METRICS,
        rung_line=rung_line,
        gate_text=gate_text,
        status_text=status_text,
        meter=_meter,
    )
