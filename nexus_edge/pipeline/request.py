"""What `nexus_edge.export` and `nexus-edge export` share: from the names that a user gives to an export."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nexus_edge._arguments import require_kind, require_path, require_text, require_texts, resolved
from nexus_edge._extras import needs_extra
from nexus_edge._outputs import require_apart
from nexus_edge.bundle import Bundle, Manifest
from nexus_edge.bundle.writer import require_writable
from nexus_edge.errors import InputError, RecipeError
from nexus_edge.interfaces.progress import Progress, silent
from nexus_edge.recipe import Recipe, find_recipe, read_recipe

if TYPE_CHECKING:
    from nexus_edge.checkpoints import Checkpoint
    from nexus_edge.pipeline.own_calibration import OwnCalibration

WeightFormat = Literal["int4", "int8", "fp16", "fp32"]
"""What most weights of a bundle are stored in: the recipe of that name in the model's folder of `export/`."""

OUT = Path("out")


@dataclass(frozen=True)
class ExportRequest:
    """An export, resolved as far as that goes without torch.

    Attributes:
        recipe: what is made
        checkpoint: what the user named, or None for the recipe's own
        stand_in: hub id of the published model, whose family `tiny` is of and whose numbers `synthetic` weights follow
        out: the bundle's folder
        ignored_keys: of the checkpoint's configuration files, left out by their dotted paths
        adapter: folder of an adapter that is merged into the checkpoint
    """

    recipe: Recipe
    checkpoint: str | None
    stand_in: str
    out: Path
    ignored_keys: tuple[str, ...] = ()
    adapter: Path | None = None

    @classmethod
    def resolve(
        cls,
        model: str,
        precision: WeightFormat = "int4",
        *,
        checkpoint: str | None = None,
        adapter: Path | None = None,
        recipe_file: Path | None = None,
        targets: Sequence[str] = (),
        out: Path | None = None,
        ignored_keys: Sequence[str] = (),
    ) -> "ExportRequest":
        """Find the recipe and the bundle's folder; see `export` for the arguments.

        Raises:
            RecipeError: no such model, recipe or target, or a recipe of another model.
        """
        published = find_recipe(model, precision)
        recipe = read_recipe(recipe_file) if recipe_file else published
        if recipe.model_type != published.model_type:
            raise RecipeError(
                f"{recipe_file}: is for model_type {recipe.model_type!r}, but {model} is {published.model_type!r}"
            )
        recipe = recipe.with_targets(targets) if targets else recipe
        given = [text for text in (checkpoint, None if adapter is None else str(adapter)) if text is not None]
        name = "-".join((recipe.name, *map(_label, given)))
        return cls(recipe, checkpoint, published.checkpoint, out or OUT / name, tuple(ignored_keys), adapter)

    @property
    def default_checkpoint(self) -> str:
        """The hub id that is opened where the user named none."""
        return self.stand_in if self.checkpoint in ("tiny", "synthetic") else self.recipe.checkpoint

    def open(self) -> "Checkpoint":
        """The checkpoint with its adapter; warns where nothing tells that the two belong together.

        Raises:
            as `nexus_edge.checkpoints.open_checkpoint`
        """
        from nexus_edge.checkpoints import open_checkpoint
        from nexus_edge.checkpoints.adapters.belonging import AdapterWarning, compare_base

        checkpoint = open_checkpoint(self.checkpoint, self.default_checkpoint, self.ignored_keys, self.adapter)
        doubt = None if checkpoint.adapter is None else compare_base(checkpoint.adapter, checkpoint)
        if doubt is not None:
            warnings.warn(doubt, AdapterWarning, stacklevel=2)
        return checkpoint

    def own_calibration(self, path: Path | None) -> "OwnCalibration | None":
        """The user's samples, if there are any.

        Raises:
            InputError: a sample is wrong, or the bundle's folder would take the place of what is read
        """
        with needs_extra("export"):
            from nexus_edge.pipeline.own_calibration import OwnCalibration
        adapter = () if self.adapter is None else self.adapter.glob("*")
        require_apart("--out", self.out, [*adapter, *([] if path is None else [path])])
        return None if path is None else OwnCalibration.read(path)

    def run(
        self,
        *,
        force: bool = False,
        parity: bool = True,
        calibration: Path | None = None,
        progress: Progress = silent,
    ) -> Manifest:
        """Make the bundle; see `nexus_edge.pipeline.export.export`."""
        with needs_extra("export"):
            from nexus_edge.pipeline import export as pipeline
        samples = self.own_calibration(calibration)
        require_writable(self.out, force=force)  # before a download
        return pipeline.export(
            self.open(), self.recipe, self.out, force=force, parity=parity, calibration=samples, progress=progress
        )


def export(
    model: str = "phi3-vision",
    precision: WeightFormat = "int4",
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    adapter: str | os.PathLike[str] | None = None,
    recipe: str | os.PathLike[str] | None = None,
    targets: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    parity: bool = True,
    ignored_keys: Sequence[str] = (),
    calibration: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> Bundle:
    """Turn a checkpoint into a bundle: `nexus_edge.export("phi3-vision", "int4", checkpoint="tiny")`.

    Args:
        model: a folder of `export/`
        precision: the recipe of that folder
        checkpoint: a folder, a hub id, `tiny`, `synthetic`, or None for the recipe's own
        adapter: the folder of a LoRA adapter that PEFT saved; it is merged into the checkpoint
        recipe: a recipe file of yours instead of `precision`
        targets: fewer than the recipe's
        out: the bundle's folder; None: `out/<recipe>[-<checkpoint>][-<adapter>]`
        force: replace a bundle that is there
        parity: run the parity ladder and store its report in the bundle
        ignored_keys: of the checkpoint's configuration files, by their dotted paths ("a.b"): left out, because you know
            that they change nothing; manifest and report name them
        calibration: a file of your texts and images, see `nexus_edge.pipeline.own_calibration`; None: the recipe's text
        progress: called with a step's name and the share of it that is done

    Raises:
        InputError: a path is empty, or an argument of a wrong type
        RecipeError: no such model or recipe, or the recipe does not fit
        CheckpointError: the checkpoint or the adapter is missing, corrupt, or of another model
        OutputError: `out` exists or cannot be written; nothing is left behind
        ParityError: a gate failed, or a rung did not run; the bundle is there, and its manifest says which
        MissingExtraError: the `export` extra is not installed
    """
    require_text("model", model)
    require_text("precision", precision)
    require_kind("checkpoint", checkpoint, (str, os.PathLike, type(None)), "a folder, a hub id, tiny or synthetic")
    require_texts("targets", targets)
    require_texts("ignored_keys", ignored_keys)
    require_kind("force", force, bool, "true or false")
    require_kind("parity", parity, bool, "true or false")
    if not callable(progress):
        raise InputError(f"progress must be a function of a step's name and a share, not {progress!r:.60}")
    request = ExportRequest.resolve(
        model,
        precision,
        checkpoint=None if checkpoint is None else os.fspath(checkpoint),
        adapter=_path("adapter", adapter),
        recipe_file=_path("recipe", recipe),
        targets=targets,
        out=_path("out", out),
        ignored_keys=ignored_keys,
    )
    own = _path("calibration", calibration)
    return Bundle(request.out, request.run(force=force, parity=parity, calibration=own, progress=progress))


def _path(name: str, given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else require_path(name, given)


def _label(checkpoint: str) -> str:
    """What names a checkpoint in a folder's name: the last part of its path or hub id, without the revision."""
    try:
        return resolved(Path(checkpoint.partition("@")[0]).expanduser()).name or "checkpoint"
    except (OSError, ValueError, RuntimeError):  # it is no path, which `open_checkpoint` says
        return "checkpoint"
