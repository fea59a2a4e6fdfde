"""P4: the quantized model against full precision, both in PyTorch: the price of the scheme, free of any runtime.

First the stored weights: those of the first target, and whether the others hold the same numbers. Then what both models
make of the cases: values on their way through the layers, and what a user would notice: `scheme.py` of
each kind.
"""

from dataclasses import replace

from nexus_edge.bundle import BundleWeights
from nexus_edge.bundle.layer_names import layer_around
from nexus_edge.families import family_named
from nexus_edge.parity.report.report import Check, NotRunError, utilisation
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.sources import build_quantized, graph_of

TITLE = "scheme: quantized against full precision"

_PARTS = ("qweight", "scales", "zero_points", "multipliers")  # what a quantized weight is stored in
_OUTSIDE = 1 << 30  # sorts what is in no layer after all layers


def judge(run: ParityRun) -> list[Check]:
    """Weights, then the cases; raises NotRunError where the cases do not run and no weight is wrong."""
    stored = check_weights(run) + check_other_targets(run)
    try:
        return stored + run.kind.compare_schemes(run)
    except NotRunError as error:
        # Right weights are half of this rung and do not make it pass; a wrong one fails it without the other half.
        if all(check.status != "failed" for check in stored):
            raise
        run.note(f"only weights: {error}")
        return stored


def check_weights(run: ParityRun) -> list[Check]:
    """One check for each layer of each graph, and one for what is outside of layers: on the worst tensor there."""
    from nexus_edge.parity.weights import compare_weights

    worst: dict[tuple[str, int], Check] = {}
    for name, scheme, measures in compare_weights(run.weights, build_quantized(run.bundle), BundleWeights(run.bundle)):
        graph, number = graph_of(run.manifest.model_type, name), layer_around(name)
        stage = f"{graph} weights"
        check = Check(stage, name, "stored", measures, run.judges.gate("P4", scheme)(stage), number)
        key = (graph, _OUTSIDE if number is None else number)
        if key not in worst or utilisation(check) > utilisation(worst[key]):
            worst[key] = check
    names = family_named(run.manifest.model_type).split().names
    return [worst[key] for key in sorted(worst, key=lambda key: (names.index(key[0]), key[1]))]


def check_other_targets(run: ParityRun) -> list[Check]:
    """One check for each graph of each target, where there are several: the first one's numbers are the measure."""
    first, *others = targets = run.manifest.targets
    reference = BundleWeights(run.bundle, first)
    return [
        replace(check, target=target)
        for target in (targets if others else ())
        for check in _same_numbers(run, reference, BundleWeights(run.bundle, target))
    ]


def _same_numbers(run: ParityRun, reference: BundleWeights, weights: BundleWeights) -> list[Check]:
    checks: list[Check] = []
    for graph in family_named(run.manifest.model_type).split().names:
        shared = [
            name for name in reference.infos if name in weights.infos and _owner(run.manifest.model_type, name) == graph
        ]
        changed = [name for name in shared if not weights.same(name, reference)]
        where = changed[0] if changed else f"{len(shared)} tensors"
        measures = {"mismatches": float(len(changed))}
        stage = f"{graph} numbers"
        checks.append(Check(stage, where, "stored", measures, run.judges.gate("P4", "*")(stage), layer_around(where)))
    return checks


def _owner(model_type: str, tensor: str) -> str:
    """The graph of a stored tensor, which is a parameter or a part of a quantized weight."""
    module, _, leaf = tensor.rpartition(".")
    return graph_of(model_type, f"{module}.weight" if leaf in _PARTS else tensor)
