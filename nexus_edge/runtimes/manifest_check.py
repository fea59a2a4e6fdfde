"""Where manifest.json says something else than the bundle's own files: asked at each load, by P0 and by `verify`.

A load asks what costs a millisecond or two: the processor is open already, hashes are compared with hashes, and chat
templates are not rendered. Hashes of contents, and frames of chat templates, are `verify`'s and P0's.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import to_builtins

from nexus_edge._words import first_of
from nexus_edge.bundle import Bundle, GraphInfo, Manifest
from nexus_edge.bundle.hashing import joined
from nexus_edge.bundle.reader import MANIFEST
from nexus_edge.checkpoints.base import KIND_KEY
from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.errors import BundleError, CheckpointError
from nexus_edge.families import family_named, family_of
from nexus_edge.interfaces.facts import RuntimeFacts, VlmFacts
from nexus_edge.interfaces.family import DualEncoderFamily, VlmFamily
from nexus_edge.interfaces.processor import DualProcessor, Processor
from nexus_edge.processing.folder import read_json

CONFIG = "config.json"
TOWERS = {IMAGE: "image", TEXT: "text"}
"""Graph of the split -> the role of its programs."""


def require_consistent(bundle: Bundle, processor: Processor | DualProcessor) -> None:
    """Refuse a bundle whose manifest contradicts its files, unless it may run although its ladder would reject it.

    Args:
        bundle: see `Bundle.open`
        processor: of its `processor/` folder

    Raises:
        BundleError: naming what is said and what is so.
        CheckpointError: config.json is damaged.
    """
    if bundle.allow_rejected:
        return
    problems = [*description_problems(bundle, processor, frames=False)]
    if isinstance(processor, DualProcessor):
        problems += tower_problems(bundle.manifest, processor)
    if problems:
        raise BundleError(
            f"{bundle.root / MANIFEST}: {first_of(problems)}; export the bundle again, or run it all the same with "
            "--allow-rejected (in Python allow_rejected=True)"
        )


def description_problems(bundle: Bundle, processor: Processor | DualProcessor, *, frames: bool) -> list[str]:
    """Family, context, weights' label and facts that are not those of the processor's files, in words.

    Args:
        bundle: what is asked
        processor: of its `processor/` folder
        frames: whether the frames of the chat template are read off it again, which takes as long as a dozen prompts

    Raises:
        CheckpointError: config.json is damaged.
    """
    manifest, config = bundle.manifest, read_json(bundle.root / "processor", CONFIG)
    found = family_of(config, str(bundle.root / "processor")).model_type
    if found != manifest.model_type:
        return [f"model_type is {manifest.model_type!r}, by the files {found!r}"]
    problems = []
    longest = _context_length(bundle, config, processor)
    if manifest.context_length != longest:
        problems.append(f"context_length is {manifest.context_length}, by the files {longest}")
    # A file without the key says nothing: synthetic weights have the configuration of the real ones.
    if config.get(KIND_KEY, manifest.source.weights) != manifest.source.weights:
        problems.append(f"weights are {manifest.source.weights!r}, by the files {config[KIND_KEY]!r:.40}")
    return [*problems, *_facts_problems(bundle, config, processor, frames)]


def tower_problems(manifest: Manifest, processor: DualProcessor) -> list[str]:
    """Where the towers that are there are not those that the manifest vouches for, in words.

    Hashes of files are the manifest's own, which is what files were compared with, or still will be.
    """
    info = manifest.dual_encoder
    if info is None:
        return ["dual_encoder is null; a model with two towers has it"]
    problems, first = [], _vouched_for(manifest)
    for name, said in ((IMAGE, info.image_tower), (TEXT, info.text_tower)):
        if name in first and joined(manifest.files[file] for file in first[name].files) != said:
            problems.append(f"the hash of {name} is not the manifest's")
    for graphs in manifest.graphs.values():
        for name, graph in graphs.items():
            lengths = [spec.shape[-1:] for spec in graph.outputs]
            if lengths != [(info.embed_dim,)]:
                problems.append(f"{name} gives {[list(spec.shape) for spec in graph.outputs]}, not one embedding each")
            problems += _role_problems(name, graph, processor)
    return problems


def _vouched_for(manifest: Manifest) -> Mapping[str, GraphInfo]:
    """The graphs that the towers' hashes are of: of the export's first target, which may not have been shipped."""
    targets = manifest.recipe.get("targets")
    first = targets[0] if isinstance(targets, list | tuple) and targets else manifest.targets[0]
    return manifest.graphs.get(first, {}) if isinstance(first, str) else {}


def _context_length(bundle: Bundle, config: Mapping[str, Any], processor: Processor | DualProcessor) -> int:
    """Most tokens of the model that the processor's files describe."""
    if isinstance(processor, DualProcessor):
        return processor.context_length
    family = family_named(bundle.manifest.model_type)
    assert isinstance(family, VlmFamily), "its processor says so"
    try:
        return family.context_length(config)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"missing key {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"{bundle.root / 'processor' / CONFIG}: {reason}; export the bundle again") from error


def _facts_problems(
    bundle: Bundle, config: Mapping[str, Any], processor: Processor | DualProcessor, frames: bool
) -> list[str]:
    said, family = bundle.manifest.facts, family_named(bundle.manifest.model_type)
    if said is None:  # a bundle of format 2; in one of format 3, P0 asks for them
        return []
    folder = bundle.root / "processor"
    if isinstance(processor, DualProcessor):
        assert isinstance(family, DualEncoderFamily), "its processor says so"
        found: RuntimeFacts = family.facts(config, folder, processor)
    else:
        assert isinstance(family, VlmFamily), "its processor says so"
        chat = said.chat if isinstance(said, VlmFacts) and not frames else None
        found = family.facts(config, folder, processor, chat)
    told, right = to_builtins(said), to_builtins(found)
    return [
        f"{key} are {value!r:.80}, by the files {right.get(key)!r:.80}"
        for key, value in told.items()
        if value != right.get(key)
    ]


def _role_problems(name: str, graph: GraphInfo, processor: DualProcessor) -> Iterator[str]:
    """Whether a graph takes what its tower takes: pixels of an image, or ids of a text."""
    part = name if graph.program is None else graph.program.part_of
    if part not in TOWERS:
        yield f"{name} is neither {IMAGE} nor {TEXT}"
        return
    if graph.program is not None and graph.program.role != TOWERS[part]:
        yield f"{name} is a part of {part}, and its role is {graph.program.role!r}"
    sizes = [spec.shape for spec in graph.inputs]
    if part == IMAGE:
        side = processor.image_size
        fits = len(sizes) == 1 and sizes[0][1:] == (3, side, side)
        wanted = f"images of 3 x {side} x {side}"
    else:
        fits = len(sizes) == 1 and len(sizes[0]) == 2 and _within(sizes[0][1], processor.context_length)
        wanted = f"texts of up to {processor.context_length} tokens"
    if not fits:
        yield f"{name} takes {[list(shape) for shape in sizes]}, by the files {wanted}"


def _within(size: int | str, most: int) -> bool:
    return isinstance(size, str) or 1 <= size <= most
