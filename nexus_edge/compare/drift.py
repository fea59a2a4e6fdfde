"""The value that leaves each layer of a bundle's graphs, so that two bundles can be compared layer by layer.

Every graph works on what the one before it made, as in the runtime. What is kept of a value is a few of its rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from nexus_edge.bundle import Bundle
from nexus_edge.bundle.layer_names import layer_of_output
from nexus_edge.compare.inputs import Inputs, Item
from nexus_edge.compare.record import Floats
from nexus_edge.engines.dual import IMAGE, TEXT
from nexus_edge.engines.probes import Stage, runner_of
from nexus_edge.parity.metrics import Array, Values
from nexus_edge.runtimes.hosts import host_maker

ROWS = 4
MOST_ITEMS = 2  # of a kind: with images and without


@dataclass
class Trace:
    """Layers by "graph, item", and output vectors by their name."""

    layers: dict[str, tuple[Floats, ...]] = field(default_factory=dict)
    vectors: dict[str, list[Floats]] = field(default_factory=dict)

    def add(self, graph: str, item: str, values: Values) -> None:
        """What a graph gave for an item."""
        layers = {layer: value for name, value in values.items() if (layer := layer_of_output(name)) is not None}
        if layers:
            self.layers[f"{graph}, {item}"] = tuple(_rows(layers[layer]) for layer in sorted(layers))

    def output(self, name: str, value: Array) -> None:
        """Rows of a graph's output."""
        self.vectors.setdefault(name, []).append(_rows(value))


def trace(bundle: Bundle, target: str, asked: Inputs) -> tuple[dict[str, tuple[Floats, ...]], dict[str, Floats]]:
    """Layers, and output vectors by name, of a few items.

    Raises:
        NotRunError: nothing here can look into graphs of this target
        ParityError: a graph does not load or run
    """
    files = {name: bundle.graph(target, name) for name in bundle.manifest.graphs[target]}
    known = runner_of(target).counterparts(files, host_maker(bundle))
    parts = [part for part in known if part.as_shipped]
    stages = {part.name: part.open("visible") for part in parts}
    found = Trace()
    if bundle.manifest.dual_encoder is None:
        _answer(bundle, stages, asked, found)
    else:
        _embed(bundle, stages, asked, found)
    return found.layers, {name: np.concatenate(rows) for name, rows in found.vectors.items()}


def _rows(value: Array) -> Floats:
    """A few vectors of its last dimension, spread evenly, the last among them."""
    rows = np.asarray(value, np.float32).reshape(-1, value.shape[-1])
    return rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(np.int64)]


def _chosen(items: tuple[Item, ...]) -> Iterator[Item]:
    for with_images in (False, True):
        yield from [item for item in items if bool(item.images) is with_images][:MOST_ITEMS]


def _answer(bundle: Bundle, stages: dict[str, Stage], asked: Inputs, found: Trace) -> None:
    from nexus_edge import processing
    from nexus_edge.parity.vlm.replay import decoder_inputs, vision_inputs
    from nexus_edge.processing.messages import ImagePart, TextPart

    processor = processing.from_checkpoint(bundle.root)
    hidden = int(stages["embed_tokens"].inputs["image_features"].shape[-1])
    for item in _chosen(asked.items):
        parts: list[TextPart | ImagePart] = [*[ImagePart(type="image")] * len(item.images)]
        parts.append(TextPart(type="text", text=item.question))
        prompt = processor.apply_chat_template([{"role": "user", "content": parts}])
        made = processor(prompt, list(item.images))
        inputs: Values = dict(made)  # type: ignore[arg-type]  # a TypedDict of arrays
        features: Array = np.zeros((0, hidden), np.float32)
        if item.images:
            seen = stages["vision_encoder"].run(vision_inputs(bundle, processor, made))
            found.add("vision_encoder", item.name, seen)
            features = seen["image_features"]
            found.output("image features", features)
        ids = {"input_ids": inputs["input_ids"], "image_features": features}
        embeds = stages["embed_tokens"].run(ids)["inputs_embeds"]
        values = stages["decoder"].run(decoder_inputs(stages["decoder"], embeds, {}))
        found.add("decoder", item.name, values)
        found.output("logits", values["logits"][:, -1])


def _embed(bundle: Bundle, stages: dict[str, Stage], asked: Inputs, found: Trace) -> None:
    from nexus_edge import processing
    from nexus_edge.parity.dual_encoder.steps import trimmed

    processor = processing.dual_from_checkpoint(bundle.root)
    for item in asked.items[:MOST_ITEMS]:
        found.add(IMAGE, item.name, stages[IMAGE].run({"pixel_values": processor.images([item.images[0]])}))
    for number, sentence in enumerate(asked.sentences[:MOST_ITEMS] if TEXT in stages else ()):
        ids = trimmed(processor.texts([sentence]))
        found.add(TEXT, f"sentence {number + 1}", stages[TEXT].run({"input_ids": ids}))
