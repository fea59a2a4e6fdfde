"""Every engine and kind of model: a graph that is not what the manifest says of it is refused when it is opened."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from bundles import Bundles, of_kind, row_for
from PIL import Image

import nexus_edge
from nexus_edge.bundle import Bundle, TensorSpec
from nexus_edge.errors import BundleError
from nexus_edge.runtimes import DualEncoder, EngineOptions

pytestmark = pytest.mark.slow

EDITS: dict[str, Callable[[TensorSpec], TensorSpec]] = {
    "name": lambda spec: replace(spec, name=f"{spec.name}_"),
    "type": lambda spec: replace(spec, dtype="uint64"),
    "size": lambda spec: replace(spec, shape=(*spec.shape[:-1], 7919)),
    "rank": lambda spec: replace(spec, shape=(*spec.shape, 1)),
}
"""What a manifest may say that no graph of ours has."""


def edited(bundle: Bundle, edit: str, side: str) -> Bundle:
    """Every graph with another first input or output."""

    def change(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
        return (EDITS[edit](specs[0]), *specs[1:])

    graphs = {
        target: {name: replace(info, **{side: change(getattr(info, side))}) for name, info in infos.items()}
        for target, infos in bundle.manifest.graphs.items()
    }
    # Allowed what a ladder would reject: the towers' roles are then unasked, and what is left is the engine's refusal.
    return replace(bundle, manifest=replace(bundle.manifest, graphs=graphs), allow_rejected=True)


def refusals(bundle: Bundle, engine: str) -> list[str]:
    """What is said when the model is loaded, or when its graphs are opened: a tower is when it is first used."""
    said = []
    try:
        with nexus_edge.load(bundle, EngineOptions(threads=1, engine=engine)) as model:
            assert isinstance(model, DualEncoder), "a VLM's decoder is opened when it is loaded"
            for call in (lambda: model.embed_texts(["one"]), lambda: model.embed_images([Image.new("RGB", (9, 9))])):
                with pytest.raises(BundleError) as caught:
                    call()
                said.append(str(caught.value))
    except BundleError as error:
        said.append(str(error))
    return said


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("edit", EDITS)
@of_kind("vlm")
def test_a_vlm_is_refused(engine: str, edit: str, side: str, bundle_of: Bundles) -> None:
    bundle = bundle_of(row_for(engine, "vlm"))
    (said,) = refusals(edited(bundle, edit, side), engine)
    assert "is not the graph that manifest.json describes" in said
    assert "\n" not in said


@pytest.mark.parametrize("side", ["inputs", "outputs"])
@pytest.mark.parametrize("edit", EDITS)
@of_kind("dual_encoder")
def test_both_towers_are_refused(engine: str, edit: str, side: str, bundle_of: Bundles) -> None:
    bundle = bundle_of(row_for(engine, "dual_encoder"))
    said = refusals(edited(bundle, edit, side), engine)
    assert len(said) == 2
    assert all("is not the graph that manifest.json describes" in text and "\n" not in text for text in said)
