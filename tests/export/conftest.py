"""A checkpoint with the golden weights and a tokenizer of its own, exported once per recipe and session."""

import json
import shutil
from collections.abc import Callable

import golden_phi3
import onnx_ir as ir
import onnxruntime
import pytest
import torch
import toy_vlm
from exported_phi3 import Exported, session_of

from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.export.onnx.emit import attach_weights, translate
from nexus_edge.export.onnx.lowering import CachedAttention
from nexus_edge.graphs import split_of
from nexus_edge.models.phi3_v import Phi3V
from nexus_edge.models.phi3_v_params import Phi3VisionParams
from nexus_edge.pipeline import export
from nexus_edge.recipe import find_recipe


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> FolderCheckpoint:
    """The golden weights (vocabulary of 512) with the toy tokenizer, 16 crops."""
    folder = tmp_path_factory.mktemp("checkpoint")
    shutil.copy(golden_phi3.FOLDER / "model.safetensors", folder)
    config = {**golden_phi3.config(), "_nexus_edge_weights": "synthetic"}
    toy_vlm.tokenizer().save(str(folder / "tokenizer.json"))
    for name, content in {
        "config.json": config,
        "tokenizer_config.json": {"bos_token": "<s>", "tokenizer_class": "LlamaTokenizer"},
        "preprocessor_config.json": {"num_crops": 16, "num_img_tokens": 144},
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return FolderCheckpoint(folder)


@pytest.fixture(scope="session")
def exported(checkpoint: FolderCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Name of a phi3-vision recipe -> its bundle."""
    done: dict[str, Exported] = {}

    def make(name: str) -> Exported:
        if name not in done:
            recipe = find_recipe("phi3-vision", name)
            root = tmp_path_factory.mktemp("bundles") / name
            export(checkpoint, recipe, root, parity=False)
            done[name] = Exported(recipe, root)
        return done[name]

    return make


@pytest.fixture(scope="session")
def decoder_session() -> Callable[[str, CachedAttention], onnxruntime.InferenceSession]:
    """(golden config file, form of cached attention) -> the float32 decoder in ONNX Runtime."""
    done: dict[tuple[str, CachedAttention], onnxruntime.InferenceSession] = {}

    def make(file: str, attention: CachedAttention) -> onnxruntime.InferenceSession:
        if (file, attention) not in done:
            with torch.device("meta"):
                meta = Phi3V(Phi3VisionParams.from_json(golden_phi3.config(file))).eval()
            decoder = {spec.name: spec for spec in split_of("phi3_v").graphs(meta)}["decoder"]
            model, loaded = translate(decoder, attention), golden_phi3.model(file)
            attach_weights(model, {}, loaded.state_dict() | loaded.constants(), "none")
            done[file, attention] = session_of(ir.to_proto(model).SerializeToString())
        return done[file, attention]

    return make
