"""A comparison from beginning to end: both sides in processes of their own, taking turns."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nexus_edge.bundle import Bundle
from nexus_edge.bundle.reader import GOLDENS, PARITY
from nexus_edge.compare.comparison import Comparison
from nexus_edge.compare.inputs import Inputs, carried, given
from nexus_edge.compare.record import Record, Reply, received
from nexus_edge.compare.side import Side
from nexus_edge.errors import InputError
from nexus_edge.interfaces.progress import Progress, silent

ENOUGH = 16  # tokens of a round, below which its speed is mostly chance


@dataclass(frozen=True)
class Request:
    """What is compared, and how.

    Attributes:
        old: the baseline: a bundle, or the record of one
        new: the bundle that is judged
        limits: name of `BUDGETS` -> limit
        examples: a file of examples; None: what the bundles carry
        rounds: against the clock
        prompt_tokens, new_tokens, images: what is run against the clock, of a model that answers
        engine, device, threads: as in `EngineOptions`
        skippable: see `Comparison`
    """

    old: Bundle | Record
    new: Bundle
    limits: Mapping[str, float] = field(default_factory=dict)
    examples: Path | None = None
    rounds: int = 3
    prompt_tokens: int = 512
    new_tokens: int = 32
    images: tuple[Path, ...] = ()
    engine: str | None = None
    device: str = "CPU"
    threads: int | None = None
    skippable: bool = False


def compare(request: Request, progress: Progress = silent) -> Comparison:
    """Measure and compare.

    Raises:
        InputError: two bundles that cannot be compared, wrong examples, or a baseline of other examples
        ParityError: a bundle was rejected by its ladder, or a graph does not run
    """
    if request.rounds < 1:
        raise InputError(f"runs is {request.rounds}; it must be 1 or more")
    _check_alike(request.old, request.new)
    bundles = [side for side in (request.old, request.new) if isinstance(side, Bundle)]
    for bundle in bundles:
        bundle.require_accepted()
    carrier = next((bundle for bundle in bundles if GOLDENS in bundle.manifest.files), request.new)
    # Wrong examples end here, before any work. They are read once: a pipe has them only once.
    inputs = carried(carrier) if request.examples is None else given(request.examples, request.new)
    if isinstance(request.old, Record):
        _check_baseline(request.old, inputs)
    measured, notes = _measure(request, carrier, inputs, bundles, progress)
    records = [replace(record, inputs=inputs.digest) for record in measured]
    old, same_run = (request.old, False) if isinstance(request.old, Record) else (records[0], True)
    found = Comparison(old, records[-1], same_run, request.limits, inputs.source, skippable=request.skippable)
    return replace(found, notes=(*notes, *_notes(found, request)))


def _check_alike(old: Bundle | Record, new: Bundle) -> None:
    before = old.model_type if isinstance(old, Record) else old.manifest.model_type
    name = old.bundle if isinstance(old, Record) else str(old.root)
    if before != new.manifest.model_type:
        raise InputError(
            f"{name} is a {before}, {new.root} a {new.manifest.model_type}: only bundles of one family can be compared"
        )


def _check_baseline(old: Record, inputs: Inputs) -> None:
    if old.inputs != inputs.digest:
        raise InputError(
            f"the baseline of {old.bundle} was recorded with other questions, images or texts than "
            f"{inputs.source}; record it again with --save-baseline"
        )
    answered = [reply.item for reply in old.replies]
    if answered and answered != [item.name for item in inputs.items]:
        raise InputError(
            f"the baseline of {old.bundle} is damaged: its replies are not those to {inputs.source}, one by one; "
            "record it again with --save-baseline"
        )


def _notes(found: Comparison, request: Request) -> list[str]:
    notes = []
    if found.old.weights != found.new.weights:
        notes.append(f"The weights are of different kinds: {found.old.weights} before, {found.new.weights} now.")
    if not found.same_run and found.old.machine != found.new.machine:
        notes.append(f"The baseline was recorded on another machine: {found.old.machine}.")
    if found.old.engine != found.new.engine:
        notes.append(f"Different engines ran: {found.old.engine} before, {found.new.engine} now.")
    if "tokens_per_s" in found.new.speeds and request.new_tokens < ENOUGH:
        tokens = request.new_tokens - 1  # the first comes from the prompt
        notes.append(f"Decode speed is of {tokens} tokens a round, mostly chance; give --new-tokens {ENOUGH} or more.")
    if found.new.layers and found.old.layers and not found.drift:
        notes.append("Layers were not compared: the bundles have different ones.")
    return notes


def _measure(
    request: Request, carrier: Bundle, inputs: Inputs, bundles: list[Bundle], progress: Progress
) -> tuple[list[Record], list[str]]:
    """A record of each bundle."""
    records = [_blank(bundle, request) for bundle in bundles]
    shared = _shared_setup(request, carrier, inputs)
    setups = [
        {**shared, **_own_setup(request, bundle, record.engine)}
        for bundle, record in zip(bundles, records, strict=True)
    ]
    names = [str(bundle.root) for bundle in bundles]
    with ExitStack() as stack:
        sides = [stack.enter_context(Side(name, setup)) for name, setup in zip(names, setups, strict=True)]
        for number in range(request.rounds):
            # Who comes first changes, so that neither always runs on what the other left in the caches.
            for place in range(len(sides))[:: 1 if number % 2 == 0 else -1]:
                progress(f"round {number + 1}, {bundles[place].manifest.name}", 0.6 * number / request.rounds)
                records[place] = _timed(records[place], sides[place])
        for place, side in enumerate(sides):
            progress(f"answers of {bundles[place].manifest.name}", 0.6 + 0.1 * place)
            records[place] = _asked(records[place], side)
    notes = []
    for place, (name, setup) in enumerate(zip(names, setups, strict=True)):
        progress(f"layers of {bundles[place].manifest.name}", 0.8 + 0.1 * place)
        # A process of its own: a second copy of the graphs would count as the first one's memory.
        with Side(name, setup) as side:
            traced = side.ask("trace")
        if "not_run" in traced:
            notes.append(f"Layers were not compared: {traced['not_run']}.")
        records[place] = _traced(records[place], traced)
    return records, notes


def _timed(record: Record, side: Side) -> Record:
    load_s = (*record.load_s, side.ask("load")["seconds"])
    speeds = {name: (*record.speeds.get(name, ()), value) for name, value in side.ask("speeds")["speeds"].items()}
    return replace(record, load_s=load_s, speeds=speeds)


def _asked(record: Record, side: Side) -> Record:
    found = side.ask("ask")
    replies = tuple(Reply(**reply) for reply in found["replies"])
    vectors = {name: received(rows, name) for name, rows in found["vectors"].items()}
    return replace(record, replies=replies, vectors=vectors, peak_bytes=side.ask("end")["peak_bytes"])


def _traced(record: Record, found: Mapping[str, Any]) -> Record:
    layers = {name: tuple(received(rows, name) for rows in values) for name, values in found.get("layers", {}).items()}
    vectors = {name: received(rows, name) for name, rows in found.get("vectors", {}).items()}
    return replace(record, layers=layers, vectors={**record.vectors, **vectors})


def _blank(bundle: Bundle, request: Request) -> Record:
    from nexus_edge.runtimes.machine import machine

    manifest = bundle.manifest
    target = request.engine if request.engine in manifest.targets else manifest.targets[0]
    if isinstance(request.old, Bundle) and request.engine is None:
        shared = [name for name in manifest.targets if name in request.old.manifest.targets]
        target = next((name for name in shared if name in request.new.manifest.targets), target)
    files = {name: info.size for name, info in manifest.files.items() if not name.startswith(f"{PARITY}/")}
    graphs = {name: sum(files[file] for file in graph.files) for name, graph in manifest.graphs[target].items()}
    return Record(
        bundle=manifest.name,
        folder=str(bundle.root),
        model_type=manifest.model_type,
        weights=manifest.source.weights if manifest.source.adapter is None else manifest.source.label,
        recipe=str(manifest.recipe.get("name", "")),
        engine=target,
        machine=f"{machine()}, {request.threads or os.cpu_count()} threads",
        inputs="",
        size_bytes=sum(files.values()),
        graph_bytes=graphs,
    )


def _own_setup(request: Request, bundle: Bundle, target: str) -> dict[str, Any]:
    return {
        "bundle": str(bundle.root),
        "allow_rejected": bundle.allow_rejected,
        "target": target,
        "engine": target if request.device == "CPU" and request.engine != "auto" else request.engine,
    }


def _shared_setup(request: Request, carrier: Bundle, inputs: Inputs) -> dict[str, Any]:
    return {
        "carrier": str(carrier.root),
        "inputs": None if request.examples is None else inputs.to_plain(),
        "device": request.device,
        "threads": request.threads,
        "prompt_tokens": request.prompt_tokens,
        "new_tokens": request.new_tokens,
        "images": [str(image) for image in request.images],
    }
