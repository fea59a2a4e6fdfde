"""P0: the files are those that were exported, every graph loads, and its names, types and shapes are the manifest's."""

from collections.abc import Callable
from functools import partial

from nexus_edge.axes import targets
from nexus_edge.bundle import Bundle
from nexus_edge.bundle.identity import KEY
from nexus_edge.checkpoints.license import read_license
from nexus_edge.checkpoints.origin import base_of, place_of
from nexus_edge.engines.interface import graph_file, interface_problems
from nexus_edge.engines.probes import Runner, Sealed, runner_of
from nexus_edge.errors import BundleError, CheckpointError, MissingExtraError, ParityError
from nexus_edge.parity.companions import companion_problems, processor_problems
from nexus_edge.parity.manifest_facts import facts_problems, graph_problems
from nexus_edge.parity.per_target import for_each_target
from nexus_edge.parity.report.report import IN_PART, Check, NotRunError
from nexus_edge.parity.run import ParityRun
from nexus_edge.parity.sources import weight_bytes

TITLE = "structure: files and graphs are the manifest's"


def judge(run: ParityRun) -> list[Check]:
    """Checks of the files, of what runtimes are told, of what a kind of models adds, of each graph, and of packages."""
    return [
        _files(run),
        *_facts(run),
        *_processor(run),
        *run.kind.compare_manifest(run),
        *for_each_target(run, lambda target: _of_target(run, target)),
    ]


def _of_target(run: ParityRun, target: str) -> list[Check]:
    return [_storage(run, target), *_graphs(run, target), *_packages(run, target), *_companions(run, target)]


def _facts(run: ParityRun) -> list[Check]:
    """Whether runtimes are told what the files and the checkpoint say; nothing in a bundle too old to tell."""
    manifest, wrong = run.manifest, facts_problems(run.bundle)
    # The other way round a stand-in may have been copied into a folder, which is all that is known of it then.
    if manifest.source.weights == "real" and not isinstance(run.checkpoint, str) and run.checkpoint.kind != "real":
        wrong.append(f"weights are 'real', by the checkpoint {run.checkpoint.kind!r}")
    _note_origin(run)
    if manifest.facts is None and not wrong:
        return []
    return [_check(run, "facts", "of the processor's files", wrong, "bundle")]


def _note_origin(run: ParityRun) -> None:
    """A licence and a base model that are not the checkpoint's: its card may have been edited, so only a remark.

    A copy of the checkpoint elsewhere, perhaps without its card, says nothing.
    """
    said, found = run.manifest.source, run.checkpoint
    if isinstance(found, str) or place_of(found) != said.checkpoint:
        return
    for name, was, now in (
        ("license", said.license, read_license(found.folder)),
        ("base_model", said.base_model, base_of(found)),
    ):
        if was != now:
            run.note(f"{name} is {was!r:.60} in the manifest, and {now!r:.60} by the checkpoint; export again")


def _processor(run: ParityRun) -> list[Check]:
    if isinstance(run.checkpoint, str):  # why there is none
        run.note(f"{IN_PART}processor files were not held against the checkpoint's: {run.checkpoint}")
        return []
    problems = _or_why_not(partial(processor_problems, run.bundle, run.checkpoint))
    return [_check(run, "processor", "files are the checkpoint's", problems, "bundle")]


def _companions(run: ParityRun, target: str) -> list[Check]:
    if targets()[target].sealed:  # each of its files names the bundle, see `_packages`
        return []
    try:
        problems = _or_why_not(partial(companion_problems, run.bundle, target))
    except MissingExtraError as error:
        run.note(f"what other runtimes read of {target} was not looked at: {error}")
        return []
    return [_check(run, "companions", "files that other runtimes read", problems, target)]


def _storage(run: ParityRun, target: str) -> Check:
    return _check(run, "storage", "schemes and files of weights", graph_problems(run.manifest, target), target)


def _packages(run: ParityRun, target: str) -> list[Check]:
    """Whether files that name their bundle are of this one and make a whole model; other targets' files do not say."""
    runner = runner_of(target)
    if not isinstance(runner, Sealed):
        return []
    return [_check(run, "packages", KEY, _or_why_not(partial(runner.seal_problems, run.bundle)), target)]


def _graphs(run: ParityRun, target: str) -> list[Check]:
    runner = runner_of(target)
    return [
        _check(
            run,
            name,
            f"{len(info.inputs)} inputs, {len(info.outputs)} outputs",
            _or_why_not(partial(_graph_problems, run, runner, target, name)),
            target,
        )
        for name, info in run.manifest.graphs[target].items()
    ]


def _check(run: ParityRun, stage: str, what: str, problems: list[str], case: str) -> Check:
    gate = run.judges.gate("P0", "*")(stage)
    return Check(stage, what, case, {"mismatches": float(len(problems))}, gate, None, "; ".join(problems) or None)


def _files(run: ParityRun) -> Check:
    count = f"{len(run.manifest.files)} files"
    try:
        Bundle.open(run.bundle.root, check="sha256")
    except BundleError as error:
        return _check(run, "files", count, [str(error)], "bundle")
    return _check(run, "files", count, [], "bundle")


def _graph_problems(run: ParityRun, runner: Runner, target: str, name: str) -> list[str]:
    path = graph_file(run.bundle, target, name)
    try:
        # A runtime copies every weight into its kernels' own layout when it loads a graph.
        run.memory.require(2 * weight_bytes(run.bundle), "loading every graph")
        loads = True
    except NotRunError as error:
        run.note(f"graphs were read, not loaded: {error}")
        loads = False
    if loads:
        stage = runner.open(path, name)
        inputs, outputs = stage.inputs, stage.outputs
    else:
        inputs, outputs = runner.interface(path, name)
    return interface_problems(run.manifest.graphs[target][name], inputs, outputs)


def _or_why_not(look: Callable[[], list[str]]) -> list[str]:
    """What `look` finds wrong, also where it cannot look: a file that cannot be read is a finding as any other."""
    try:
        return look()
    except (BundleError, CheckpointError, ParityError) as error:
        return [str(error)]
