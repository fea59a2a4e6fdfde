"""Everything that an export needs, opened and checked before anything expensive begins, for every family.

In this order, so that the cheapest says no first: output folder, checkpoint, licence, configuration files, processor,
recipe and tensors, packages of the targets, disk space. Nothing is written.
"""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nexus_edge import processing
from nexus_edge._outputs import require_apart
from nexus_edge._text import decode, parse_json
from nexus_edge.axes import targets
from nexus_edge.bundle.writer import require_writable
from nexus_edge.checkpoints import Checkpoint, require_model_type
from nexus_edge.checkpoints.ignored import rules_of
from nexus_edge.checkpoints.json_file import is_there, read_processor_file
from nexus_edge.checkpoints.keys import check_tied
from nexus_edge.checkpoints.license import read_license, require_readable
from nexus_edge.configs.keys import OPTION, check_keys_of
from nexus_edge.errors import CheckpointError, OutputError, PromptError, RecipeError
from nexus_edge.families import family_named
from nexus_edge.interfaces.family import VlmFamily
from nexus_edge.interfaces.processor import Processor
from nexus_edge.interfaces.target import Target, TargetInfo
from nexus_edge.models.base import ReferenceModel
from nexus_edge.pipeline.own_calibration import OwnCalibration
from nexus_edge.pipeline.plan import Plan, make_plan
from nexus_edge.processing.agreement import ADDED, VOCABULARY, check_agreement, check_vocabulary
from nexus_edge.recipe import Recipe
from nexus_edge.targets import make_target

PROCESS_BYTES = 700_000_000
"""What Python, torch and the exporters take without a model, measured on exports of the embedded checkpoints."""

TENSORS_HELD = 5
"""Float32 tensors of the largest size that are in memory at once: two workers, each with a weight, its rounded copy and
temporaries; 2.7 GB at Phi-3-Vision's size, where 2.66 were measured."""


@dataclass(frozen=True)
class Ready:
    """An export that can begin.

    Attributes:
        plan: the models and graphs
        targets: their writers
        sizes: target -> graph -> bytes that its weights add to the bundle, about; 0 where another target's are linked
        free: bytes of the disk that will hold the bundle
        peak: bytes of memory that the export takes at once, without the ladder, about
        license: as the checkpoint states it, see `read_license`
    """

    plan: Plan
    targets: Mapping[str, Target[Any]]
    sizes: Mapping[str, Mapping[str, int]]
    free: int
    peak: int
    license: str | None

    @property
    def total(self) -> int:
        """Bytes of the bundle, about."""
        return sum(size for graphs in self.sizes.values() for size in graphs.values())


def check(
    checkpoint: Checkpoint,
    recipe: Recipe,
    out: Path,
    *,
    force: bool = False,
    calibration: OwnCalibration | None = None,
) -> Ready:
    """Make sure that an export will not fail for want of anything.

    Raises:
        OutputError: `out` exists or cannot be written, or the disk is too full
        CheckpointError: a file of the checkpoint is missing, damaged, or says what is not computed here
        RecipeError: the recipe does not fit the model or the samples, or a target cannot hold it
        MissingExtraError: a package of a target is not installed
    """
    parent = require_writable(out, force=force)
    require_model_type(checkpoint, recipe.model_type)
    if calibration is not None:
        calibration.require_use(recipe, checkpoint)
    if checkpoint.folder is not None:
        # Its files, not the folder: `--checkpoint .` has `out/` below it.
        require_apart("--out", out, (path for path in checkpoint.folder.iterdir() if path.is_file()))
        require_readable(checkpoint.folder)
    files = checkpoint.processor_files()
    check_files(files, checkpoint, recipe.model_type)
    plan = make_plan(checkpoint, recipe)
    check_tied(checkpoint, family_named(recipe.model_type).weight_rules(checkpoint.config))
    if checkpoint.folder is not None:  # synthetic weights are lent the files of an embedded checkpoint
        check_processor(checkpoint.folder, files, plan.full, checkpoint.ignored_keys)
    for name in recipe.targets:
        require_flavour(recipe, targets()[name])
        require_encodings(plan, targets()[name])
    writers = {name: make_target(name, recipe, plan.specs) for name in recipe.targets}
    sizes = bundle_sizes(plan, writers)
    peak = PROCESS_BYTES + TENSORS_HELD * plan.largest_tensor
    ready = Ready(plan, writers, sizes, shutil.disk_usage(parent).free, peak, read_license(checkpoint.folder))
    if ready.free < ready.total:
        raise OutputError(
            f"{out}: cannot be written: the bundle takes about {ready.total / 1e6:,.0f} MB, and the disk of {parent} "
            f"has {ready.free / 1e6:,.0f} MB free; free some space, or choose another --out"
        )
    return ready


def check_files(files: Mapping[str, bytes], checkpoint: Checkpoint, model_type: str) -> None:
    """Refuse keys and values in a checkpoint's configuration files that nothing here accounts for."""
    folder, rules = checkpoint.folder or Path(checkpoint.name), rules_of(model_type)
    for name, content in files.items():
        if name in rules and name != "config.json":  # the model checks that itself
            check_keys_of(_object(content, str(folder / name)), rules[name], str(folder / name))


def check_processor(
    folder: Path, files: Mapping[str, bytes], model: ReferenceModel, ignored: Collection[str] = ()
) -> None:
    """Open the processor that the bundle will have, and hold its tokenizer against the model and its own files."""
    family = processing.family_in(folder)
    vlm = family.processor(folder) if isinstance(family, VlmFamily) else None
    processor = family.processor(folder) if vlm is None else vlm
    largest = processor.largest_id
    stops = [id_ for id_ in getattr(processor, "stop_ids", ()) if id_ >= model.vocab_size]
    if stops:
        raise CheckpointError(
            f"{folder}: a stop id is {stops[0]} (eos_token_id of config.json or generation_config.json, or what the "
            f"tokenizer calls the end), and the model has embeddings for {model.vocab_size} ids; correct it"
        )
    if largest >= model.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has id {largest}, and the model embeddings for {model.vocab_size} ids "
            "(vocab_size); take the tokenizer that belongs to it, or resize the embeddings before you save the model "
            "(transformers: resize_token_embeddings)"
        )
    if VOCABULARY in files:
        check_vocabulary(folder, largest + 1, model.vocab_size)
    configs = {name: _object(content, str(folder / name)) for name, content in files.items() if name.endswith(".json")}
    if is_there(folder / ADDED):  # transformers reads it; a bundle has no use for it
        configs[ADDED] = _object(read_processor_file(folder / ADDED), str(folder / ADDED))
    check_agreement(folder, configs, processor.token_id)
    if vlm is not None and "chat_template" not in ignored:
        _check_template(folder, vlm)


def _check_template(folder: Path, processor: Processor) -> None:
    """Make one prompt, so that a chat template that cannot is not found by the first user."""
    try:
        processor.apply_chat_template([{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}])
    except PromptError as error:
        raise CheckpointError(
            f"{folder}: {error}, correct the template, or pass {OPTION} chat_template to take the family's own"
        ) from error


def require_flavour(recipe: Recipe, target: TargetInfo) -> None:
    """Raise RecipeError if a family has no graphs of the flavour that a format is written from."""
    family = family_named(recipe.model_type)
    if target.flavour not in family.flavours:
        sizes = {"static": "fixed", "dynamic": "varying"}[target.flavour]
        raise RecipeError(
            f"{recipe.name}: target {target.name}: {family.title} has no graphs of {sizes} sizes yet, which "
            f"{target.title} is written from; leave out the target"
        )


def require_encodings(plan: Plan, target: TargetInfo) -> None:
    """Raise RecipeError if a format cannot hold the weights of a layer as the recipe stores them."""
    for graph, schemes in plan.schemes.items():
        for module, scheme in schemes.items():
            if scheme.encoding not in target.encodings:
                raise RecipeError(
                    f"{plan.recipe.name}: target {target.name}: {graph}: {module} has the scheme {scheme.name}, whose "
                    f"{scheme.encoding} weights {target.title} cannot hold ({', '.join(sorted(target.encodings))}); "
                    "take another scheme, or leave out the target"
                )


def bundle_sizes(plan: Plan, writers: Mapping[str, Target[Any]]) -> dict[str, dict[str, int]]:
    """Target -> graph -> bytes that it adds to the bundle, about."""
    weights, sizes = plan.stored_bytes(), dict[str, dict[str, int]]()
    written: dict[str, set[int]] = {spec.name: set() for spec in plan.specs}
    for name, writer in writers.items():
        repeats = targets()[name].repeats_weights
        sizes[name] = {}
        for spec in plan.specs:
            files = writer.weight_files(spec)
            # A file of the same tensors is linked; where one target cuts a graph into several, they are copied.
            linked = files in written[spec.name]
            written[spec.name].add(files)
            sizes[name][spec.name] = weights[spec.name] * (int(not linked) + int(repeats))
    return sizes


def _object(content: bytes, where: str) -> dict[str, object]:
    try:
        value = parse_json(decode(content))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not valid JSON ({error}); download it again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a JSON {type(value).__name__}, expected an object; download it again")
    return value
