"""A checkpoint with the golden weights and a tokenizer of its own, exported once per recipe and session."""

from collections.abc import Callable
from functools import cache

import golden_phi3
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from exported_phi3 import Exported
from onnx_sessions import session_of

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import FolderCheckpoint
from nexus_edge.families import family_named
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.params import Phi3VisionParams
from nexus_edge.recipe import find_recipe
from nexus_edge.targets.onnx.emit import attach_weights, translate


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> FolderCheckpoint:
    """The golden weights, in a folder that nobody changes."""
    return golden_phi3.write_checkpoint(tmp_path_factory.mktemp("golden") / "checkpoint")


@pytest.fixture(scope="session")
def exported(golden_bundle: Callable[..., Bundle]) -> Callable[[str], Exported]:
    """Name of a phi3-vision recipe -> the golden weights as a bundle and in torch."""
    return cache(lambda recipe: Exported(find_recipe("phi3-vision", recipe), golden_bundle(recipe).root))


@pytest.fixture(scope="session")
def decoder_session() -> Callable[[str], onnxruntime.InferenceSession]:
    """Golden config file -> the float32 decoder in ONNX Runtime."""

    @cache
    def make(file: str) -> onnxruntime.InferenceSession:
        with torch.device("meta"):
            meta = Phi3V(Phi3VisionParams.from_json(golden_phi3.config(file))).eval()
        decoder = {spec.name: spec for spec in family_named("phi3_v").split().graphs(meta)}["decoder"]
        model, loaded = translate(decoder), golden_phi3.model(file)
        attach_weights(model, {}, loaded.state_dict() | loaded.constants())
        return session_of(ir.to_proto(model).SerializeToString())

    return make
