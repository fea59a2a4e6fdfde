"""Does the parity ladder find faults, and does it name the right place?

    python benchmarks/mutations.py                     # all of them; prints a table in Markdown
    python benchmarks/mutations.py --only "biomedclip-int8 onnx"
    python benchmarks/mutations.py --list

Each fault is made in a copy of a sound bundle of an embedded checkpoint, and its manifest vouches for the changed
files: the fault was there before the hashes. The rungs run in their order until one is red. What the sound
bundle shows on this machine as well, and by no less than half, counts for nothing. Bundles and finished faults are kept
in --work, so that an interrupted run goes on where it stopped.
"""

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "parity"), str(ROOT / "tests" / "models")]

from faults import Fault, Scene, configuration, graphs, processing, targets, weights  # noqa: E402
from mutations import rehash  # noqa: E402

from nexus_edge.bundle import Bundle  # noqa: E402
from nexus_edge.bundle.hashing import hash_together  # noqa: E402
from nexus_edge.checkpoints import Checkpoint, open_checkpoint  # noqa: E402
from nexus_edge.errors import NexusEdgeError  # noqa: E402
from nexus_edge.parity import ladder  # noqa: E402
from nexus_edge.parity.report.report import Check, Rung, utilisation  # noqa: E402
from nexus_edge.parity.run import ParityRun  # noqa: E402
from nexus_edge.parity.rungs import p4_scheme  # noqa: E402
from nexus_edge.parity.vlm.run import ask, vlm_run  # noqa: E402
from nexus_edge.recipe import find_recipe  # noqa: E402

FAULTS: tuple[Fault, ...] = (
    *weights.FAULTS,
    *graphs.FAULTS,
    *processing.FAULTS,
    *targets.FAULTS,
    *configuration.FAULTS,
)
CHUNK_BYTES = 300_000  # of half a million: the embedded checkpoint's decoder in two Core ML packages
FEW = {"phi3_v": 1, "biomedclip": 12}  # held-out images that P4 looks at
VALUES = "values"
SHARED = "its graphs share the weights of another target, which is judged elsewhere"


@dataclass(frozen=True)
class Outcome:
    """What came of one fault: the first red rung and place, "" where none was."""

    name: str
    kind: str
    bundle: str
    expected: str
    rung: str
    place: str
    right: bool
    seconds: float


def make_bundle(name: str, work: Path) -> tuple[Bundle, Checkpoint]:
    """`phi3-vision-int4 onnx` -> the sound bundle, exported once."""
    from nexus_edge.models.phi3_v.static import packages as phi3_v
    from nexus_edge.pipeline.export import export

    recipe_name, target = name.split()
    model, _, precision = recipe_name.rpartition("-")
    recipe = find_recipe(model, precision).with_targets((target, "onnx") if target == "openvino" else (target,))
    checkpoint, root = open_checkpoint("tiny", recipe.checkpoint), work / f"{recipe_name}-{target}"
    if not root.is_dir():
        with mock.patch.object(phi3_v, "CHUNK_BYTES", CHUNK_BYTES):
            export(checkpoint, recipe, root, parity=False)
    return Bundle.open(root), checkpoint


def run_rungs(bundle: Bundle, checkpoint: Checkpoint, fault: Fault) -> Iterator[Rung]:
    """The fault's rungs, one by one."""
    if fault.rungs == (VALUES,):
        yield derived_values()
        return
    if fault.bundle.endswith("openvino"):
        # PyTorch has the weights of the first target, so that a fault in the other's is none of the reference.
        bundle = replace(bundle, manifest=replace(bundle.manifest, targets=("onnx", "openvino")))
    run = ladder.prepare(bundle, checkpoint)
    run.held_out_images = FEW[bundle.manifest.model_type]
    if fault.cases:
        ask(run, [case for case in vlm_run(run).cases if case.name in fault.cases])
    for name in fault.rungs:
        if name != "P0" and fault.bundle.endswith("openvino"):
            run.broken.setdefault("onnx", SHARED)
        yield stored(run) if name == "P4" else ladder.run(run, (name,)).rungs[0]


def stored(run: ParityRun) -> Rung:
    """The beginning of P4, which compares stored weights: what follows there only shows their consequences."""
    checks = p4_scheme.check_weights(run) + p4_scheme.check_other_targets(run)
    return Rung("P4", p4_scheme.TITLE, tuple(checks))


def derived_values() -> Rung:
    """The table of what configurations mean, as a rung: tests/models/test_derived_values.py."""
    import test_derived_values as table

    def problem(case: dict[str, Any]) -> str | None:
        try:
            table.test_a_configuration_means_what_the_original_makes_of_it(case)
        except Exception as error:  # noqa: BLE001  a wrong reading may stop anywhere
            return f"{type(error).__name__}"
        return None

    checks = (Check("derived values", case["name"], "table", problem=problem(case)) for case in table.CASES)
    return Rung(VALUES, "derived values", tuple(checks))


@dataclass(frozen=True)
class Red:
    """A check that failed: how much of its tolerance it used, and where it is."""

    used: float
    place: str


Reds = dict[str, Red]


def red(rung: Rung) -> Reds:
    """What failed, by a name that a check has in every run."""
    failed = [check for check in rung.checks if check.status == "failed"]
    return {_key(check): Red(math.inf if check.problem else utilisation(check), check.place) for check in failed}


def _key(check: Check) -> str:
    return " | ".join((check.stage, check.case, check.target, check.precision, str(check.layer)))


def news(found: Reds, known: Reds) -> list[Red]:
    """What failed and does not, or by less than half, in the sound bundle."""
    return [one for key, one in found.items() if key not in known or one.used > 2 * known[key].used]


def vouch(scene: Scene) -> Bundle:
    """A manifest that agrees with the files as they are now, and with what the fault changed in it."""
    bundle = rehash(scene.bundle)
    info = bundle.manifest.dual_encoder
    if info is None or info.image_tower == info.text_tower:
        return bundle
    first = next(iter(bundle.manifest.graphs.values()))
    towers = {f"{name}_tower": hash_together(bundle.file(file) for file in first[f"{name}_encoder"].files)
              for name in ("image", "text")}  # fmt: skip
    changed = replace(bundle.manifest, dual_encoder=replace(info, **towers))
    (bundle.root / "manifest.json").write_text(changed.to_json(), "utf-8")
    return Bundle.open(bundle.root)


def judge(fault: Fault, sound: Bundle, checkpoint: Checkpoint, known: dict[str, Reds], work: Path) -> Outcome:
    """Make the fault in a copy, and run the rungs until something is red that is not in the sound bundle."""
    started, folder = time.perf_counter(), work / f"damaged-{sound.root.name}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sound.root, folder)
    rung_name = place = ""
    with ExitStack() as stack:
        scene = Scene(Bundle.open(folder), stack)
        fault.make(scene)
        try:
            for rung in run_rungs(vouch(scene), checkpoint, fault):
                if new := news(red(rung), known.get(rung.name, {})):
                    rung_name, place = rung.name, new[0].place
                    break
        except NexusEdgeError as error:  # refused by name, before anything could be compared
            rung_name, place = "refused", str(error)[:120]
    right = rung_name == fault.rung and fnmatchcase(place, fault.place)
    expected = f"{fault.rung}: {fault.place}"
    seconds = round(time.perf_counter() - started, 1)
    return Outcome(fault.name, fault.kind, fault.bundle, expected, rung_name, place, right, seconds)


def healthy(bundle: Bundle, checkpoint: Checkpoint, faults: list[Fault]) -> dict[str, Reds]:
    """Rung -> what is red there without a fault, on everything that any of these faults is tried on."""
    rungs = tuple(rung for rung in ("P0", "P3", "P4", "P5") if any(rung in fault.rungs for fault in faults))
    cases = () if any(not fault.cases for fault in faults) else tuple({name for one in faults for name in one.cases})
    every = replace(faults[0], rungs=rungs, cases=cases)
    found = {rung.name: red(rung) for rung in run_rungs(bundle, checkpoint, every)}
    return found | ({VALUES: red(derived_values())} if any(VALUES in fault.rungs for fault in faults) else {})


def table(outcomes: list[Outcome], sound: dict[str, int]) -> str:
    """Markdown: one row for each fault, and the sums."""
    caught, right = sum(bool(one.rung) for one in outcomes), sum(one.right for one in outcomes)
    lines = [
        f"{len(outcomes)} faults, {caught} caught, {right} ({right / max(1, len(outcomes)):.0%}) in the right place.",
        "",
        "| bundle | kind | fault | caught by | where | right place |",
        "|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        verdict = "yes" if one.right else f"no: {one.expected}"
        lines.append(
            f"| {one.bundle} | {one.kind} | {one.name} | {one.rung or '**nothing**'} | {one.place} | {verdict} |"
        )
    noisy = {name: count for name, count in sound.items() if count}
    if noisy:
        said = ", ".join(f"{name} ({count} checks)" for name, count in noisy.items())
        lines += ["", f"Red without a fault on this machine, and left out above: {said}."]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", metavar="BUNDLE", help="such as 'phi3-vision-int4 onnx'")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "mutations", help="bundles and what is done")
    parser.add_argument("--list", action="store_true", help="print the faults and stop")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.only or fault.bundle in options.only]
    if options.list:
        print(*(f"{fault.bundle}  {fault.kind:14} {fault.name}" for fault in chosen), sep="\n")
        return 0
    options.work.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    sound_failures: dict[str, int] = {}
    for name in dict.fromkeys(fault.bundle for fault in chosen):
        bundle, checkpoint = make_bundle(name, options.work)
        faults = [fault for fault in chosen if fault.bundle == name]
        kept = options.work / f"{bundle.root.name}.json"
        done = json.loads(kept.read_text("utf-8")) if kept.is_file() else {"red": None, "outcomes": {}}
        if done["red"] is None:
            sound = healthy(bundle, checkpoint, faults)
            done["red"] = {rung: {key: asdict(one) for key, one in reds.items()} for rung, reds in sound.items()}
            kept.write_text(json.dumps(done, indent=1), "utf-8")
        known = {rung: {key: Red(**one) for key, one in reds.items()} for rung, reds in done["red"].items()}
        sound_failures[name] = sum(len(keys) for keys in known.values())
        for fault in faults:
            if fault.name not in done["outcomes"]:
                done["outcomes"][fault.name] = asdict(judge(fault, bundle, checkpoint, known, options.work))
                kept.write_text(json.dumps(done, indent=1), "utf-8")
                print(done["outcomes"][fault.name], file=sys.stderr, flush=True)
            outcomes.append(Outcome(**done["outcomes"][fault.name]))
    print(table(outcomes, sound_failures))
    return 0 if all(one.rung for one in outcomes) else 3


if __name__ == "__main__":
    sys.exit(main())
