"""The three parts of Molmo in ONNX: P2 in full precision and P3 quantized, by the ladder's own runs and gates."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from nexus_edge.engines.probes import Stage, runner_of
from nexus_edge.interfaces.graph import GraphSpec, Interface
from nexus_edge.interfaces.processor import ModelInputs
from nexus_edge.layers.kv_cache import KVCache
from nexus_edge.models import from_checkpoint
from nexus_edge.models.molmo.crops import layout_of_views
from nexus_edge.models.molmo.graphs import SPLIT
from nexus_edge.models.molmo.host import make_host
from nexus_edge.models.molmo.model import Molmo
from nexus_edge.models.molmo.processing import MolmoProcessor
from nexus_edge.parity.metrics import Values
from nexus_edge.parity.stages import Judge, run_torch
from nexus_edge.parity.tolerances import load
from nexus_edge.processing.folder import read_json
from nexus_edge.processing.merging import merge_features
from nexus_edge.quant.apply import quantize_modules
from nexus_edge.quant.schemes import load_scheme
from nexus_edge.targets.onnx.emit import attach_weights, save, translate

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "golden" / "molmo_tiny"
NOISE = 1e-5  # of the largest logit: float32 sums in another order, as between the model and its original
FULL = dict.fromkeys(SPLIT.names, "float32")
MIXED = {"vision_encoder": "int8", "embed_tokens": "int8-g32", "decoder": "int4-g32-asym"}
TAIL = np.array([[7, 8, 9]])


@pytest.fixture(scope="module")
def made() -> ModelInputs:
    processor = MolmoProcessor.from_folder(TINY).with_most_views(1)
    return processor(" User: Point at the checkerboard. Assistant:", TINY / "images/d_97x211.png")


@dataclass(frozen=True)
class Pair:
    """A model in PyTorch and the graphs of the same weights in ONNX Runtime, each layer on PyTorch's values."""

    schemes: dict[str, str]
    specs: dict[str, GraphSpec]
    stages: dict[str, Stage]
    folder: Path

    def compare(self, graph: str, inputs: Values) -> Values:
        """What PyTorch makes of the inputs, after every value was held against ONNX Runtime's."""
        expected = run_torch(self.specs[graph], inputs)
        scheme, tolerances = self.schemes[graph].split("-")[0], load()
        rung = "P2" if scheme == "float32" else "P3"
        judge = Judge(
            lambda stage: tolerances.gate(rung, stage, "onnx", scheme, "real"),
            lambda stage: tolerances.near_tie(rung, stage, scheme),
        )
        checks = judge.check(graph, "case", self.stages[graph].run({**expected, **inputs}), expected)
        assert len(checks) == len(expected)
        assert [check for check in checks if check.status != "passed"] == []
        return expected


@pytest.fixture(scope="module", params=[FULL, MIXED], ids=["P2", "P3"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    model, folder = from_checkpoint(TINY), tmp_path_factory.mktemp("onnx")
    assert isinstance(model, Molmo)
    with torch.device("meta"):
        empty = Molmo(model.params).eval()
    for one in (model, empty):
        quantize_modules(one, lambda module: load_scheme(request.param[SPLIT.owner(module)]))
    tensors = dict(model.named_parameters()) | dict(model.named_buffers()) | model.constants()
    values = {name: tensor.detach() for name, tensor in tensors.items()}
    stages: dict[str, Stage] = {}
    for spec in SPLIT.graphs(empty):
        path, graph = folder / f"{spec.name}.onnx", translate(spec)
        attach_weights(graph, {}, values)
        save(graph, path)
        stages[spec.name] = runner_of("onnx").open(path, spec.name, "cut")
    return Pair(request.param, {spec.name: spec for spec in SPLIT.graphs(model)}, stages, folder)


def test_each_graph_computes_what_its_module_computes(pair: Pair, made: ModelInputs) -> None:
    """A prompt with the first view of an image, then three tokens on its cache."""
    layout = layout_of_views(*made["image_sizes"][0].tolist(), 2)
    views = {"pixel_values": made["pixel_values"][0, :1], "image_masks": layout.masks()[:1]}
    seen = pair.compare("vision_encoder", {**views, "feature_index": layout.feature_index()[:144]})
    layers = [name for name in seen if name.endswith(".output")]
    assert len(layers) == 9  # up to the last that features are taken from, each compared by itself
    features = seen["image_features"]
    ids = np.concatenate([made["input_ids"][:, : 1 + 158], made["input_ids"][:, -8:]], axis=1)
    embeds = pair.compare("embed_tokens", {"input_ids": ids, "image_features": features})
    past = {spec.name: np.zeros((1, 2, 0, 16), np.float32) for spec in pair.specs["decoder"].inputs[2:]}
    grown = pair.compare("decoder", {**embeds, "attention_mask": np.ones_like(ids), **past})
    past = {name: grown[name.replace("past_key_values", "present")] for name in past}
    embeds = pair.compare("embed_tokens", {"input_ids": TAIL, "image_features": features[:0]})
    ones = np.ones((1, ids.shape[1] + TAIL.shape[1]), np.int64)
    pair.compare("decoder", {**embeds, "attention_mask": ones, **past})


@pytest.mark.parametrize("pair", [FULL], indirect=True, ids=["P2"])
def test_host_and_graphs_answer_as_the_original_did(pair: Pair, made: ModelInputs) -> None:
    """Six greedy steps in ONNX Runtime, the features added by the host to what the graph makes of the ids alone."""
    recorded = safetensors.numpy.load_file(TINY / "outputs.safetensors")
    interfaces = {name: Interface(spec.inputs, spec.outputs) for name, spec in pair.specs.items()}
    host = make_host(read_json(TINY, "config.json"), interfaces, TINY)
    graphs = {name: runner_of("onnx").open(pair.folder / f"{name}.onnx", name) for name in SPLIT.names}
    prompt = host.prompt(made)
    features = host.encode(lambda graph, inputs: graphs[graph].run(inputs), prompt.images[0])
    caches = {spec.name: np.zeros((1, 2, 0, 16), np.float32) for spec in pair.specs["decoder"].inputs[2:]}
    ids, length, found = prompt.ids, 0, []
    for id_ in recorded["portrait.decode_ids"][0]:
        length += len(ids)
        embeds = graphs["embed_tokens"].run({"input_ids": ids[None], "image_features": features[:0]})["inputs_embeds"]
        if not found:
            merge_features(embeds[0], prompt.is_image, features, host.merge)
        mask = np.ones((1, length), np.int64)
        outputs = graphs["decoder"].run({"inputs_embeds": embeds, "attention_mask": mask, **caches})
        caches = {name: outputs[name.replace("past_key_values", "present")] for name in caches}
        found.append(outputs["logits"][0, 0])
        ids = np.array([id_])
    expected = recorded["portrait.decode_logits"][0]
    assert np.abs(np.stack(found) - expected).max() <= NOISE * np.abs(expected).max()
    assert np.stack(found).argmax(-1).tolist() == recorded["portrait.decode_ids"][0].tolist()


def test_parts_in_a_row_are_the_model(made: ModelInputs) -> None:
    model = from_checkpoint(TINY)
    assert isinstance(model, Molmo)
    run: dict[str, Callable[..., object]] = {spec.name: spec.module for spec in SPLIT.graphs(model)}
    inputs = {name: torch.from_numpy(array) for name, array in made.items()}
    cache, tail = KVCache(), torch.from_numpy(TAIL)
    with torch.inference_mode():
        expected = [model(**inputs, cache=cache)[:, -1:], model(tail, cache=cache)[:, -1:]]
        layout = layout_of_views(*made["image_sizes"][0].tolist(), 2)
        index = [torch.from_numpy(array) for array in (layout.masks(), layout.feature_index())]
        features = run["vision_encoder"](inputs["pixel_values"][0], *index)
        embeds = run["embed_tokens"](inputs["input_ids"], features)
        empty = [tensor for pair in model.empty_past(embeds) for tensor in pair]
        first, *past = run["decoder"](embeds, inputs["attention_mask"], *empty)
        mask = torch.ones(1, inputs["input_ids"].shape[1] + 3, dtype=torch.int64)
        second, *_ = run["decoder"](run["embed_tokens"](tail, features[:0]), mask, *past)
    for actual, logits in zip((first, second), expected, strict=True):
        assert (actual - logits).abs().max() <= NOISE * logits.abs().max()


@pytest.mark.parametrize(
    ("module", "graph"),
    [
        ("model.vision_backbone", "vision_encoder"),
        ("model.vision_backbone.image_pooling_2d.wq", "vision_encoder"),
        ("model.vision_backbone.image_vit.transformer.resblocks.0.feed_forward.w1", "vision_encoder"),
        ("model.transformer.wte.new_embedding", "embed_tokens"),
        ("model.transformer.blocks.0.att_proj", "decoder"),
        ("model.transformer.ff_out", "decoder"),
    ],
)
def test_every_layer_belongs_to_one_part(module: str, graph: str) -> None:
    assert SPLIT.owner(module) == graph
