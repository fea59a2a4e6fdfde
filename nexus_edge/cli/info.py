"""`nexus-edge info`: show a bundle's model, source, graphs and verdict."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nexus_edge.cli.bundle_facts import VERDICTS, BundleFacts, readable
from nexus_edge.cli.towers import printable

if TYPE_CHECKING:
    from nexus_edge.bundle import Bundle


def info(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by nexus-edge export.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what a bundle holds: model, source, recipe, graphs with their sizes, limits and verdict.

    Files are compared by size only; nexus-edge verify compares hashes and runs the graphs.
    """
    from nexus_edge.bundle import Bundle

    opened = Bundle.open(bundle)
    facts = BundleFacts.of(opened)
    if as_json:
        typer.echo(json.dumps({**facts.to_json(), **_more(opened)}, ensure_ascii=False))
        return
    width = 11
    for name, value in _rows(opened, facts):
        typer.echo(f"{name:<{width}} {printable(value)}")


def _rows(bundle: "Bundle", facts: BundleFacts) -> Iterator[tuple[str, str]]:
    """What is said, line by line."""
    manifest, source = bundle.manifest, bundle.manifest.source
    yield "bundle", str(facts.folder)
    yield "model", f"{facts.name} ({facts.model_type}), made by nexus-edge {manifest.toolkit_version}"
    yield "weights", source.in_words
    yield "licence", source.license or "not stated by the checkpoint"
    yield "recipe", str(manifest.recipe.get("description", manifest.recipe.get("name", "")))
    for target, graphs in manifest.graphs.items():
        for name, graph in graphs.items():
            size = sum(manifest.files[file].size for file in graph.files if file in manifest.files)
            yield target, f"{name}: {graph.scheme}" + (f", {readable(size)}" if size else "")
    yield (
        "size",
        f"{readable(facts.bytes)} ("
        + ", ".join(f"{name} {readable(size)}" for name, size in sorted(facts.parts.items(), key=lambda part: -part[1]))
        + ")",
    )
    if manifest.dual_encoder is None:
        yield "limits", f"{manifest.context_length} tokens, prompt, images and answer together"
    else:
        yield (
            "limits",
            f"texts of {manifest.context_length} tokens; embeddings of {manifest.dual_encoder.embed_dim} numbers",
        )
    yield "parity", VERDICTS.get(facts.verdict, facts.verdict) + (f" ({facts.reason})" if facts.reason else "")
    rungs = (manifest.parity or {}).get("rungs", {})
    if rungs:
        yield "", ", ".join(f"{name} {status}" for name, status in rungs.items())
    if "parity/report.html" in manifest.files:
        yield "report", str(bundle.root / "parity" / "report.html")


def _more(bundle: "Bundle") -> dict[str, Any]:
    """What the JSON has beside `BundleFacts`."""
    manifest = bundle.manifest
    return {
        "toolkit_version": manifest.toolkit_version,
        "source": asdict(manifest.source),
        "recipe": dict(manifest.recipe),
        "context_length": manifest.context_length,
        "embed_dim": None if manifest.dual_encoder is None else manifest.dual_encoder.embed_dim,
        "graphs": {
            target: {
                name: {
                    "file": graph.file,
                    "scheme": graph.scheme,
                    "bytes": sum(manifest.files[file].size for file in graph.files if file in manifest.files),
                    "inputs": [asdict(spec) for spec in graph.inputs],
                    "outputs": [asdict(spec) for spec in graph.outputs],
                }
                for name, graph in graphs.items()
            }
            for target, graphs in manifest.graphs.items()
        },
        "rungs": dict((manifest.parity or {}).get("rungs", {})),
    }
