"""Phi-3-Vision in the four graphs of OpenVINO GenAI's VLMPipeline, under the names that it looks for."""

from nexus_edge._telemetry import without_telemetry
from nexus_edge.bundle import TensorSpec
from nexus_edge.bundle.openvino_names import BEAMS, LARGEST_POSITION
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.models.phi3_v.clients.openvino_genai_files import write_phi3_v
from nexus_edge.models.phi3_v.clients.openvino_genai_modules import (
    FEATURES,
    PATCHES,
    SEPARATORS,
    LanguageModel,
    TextEmbeddings,
    VisionEmbeddings,
    VisionProjection,
)
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.targets.openvino.family import OpenVinoClient, Part, root_of
from nexus_edge.targets.openvino.stateful import make_stateful

with without_telemetry():
    import openvino as ov

PAST, PRESENT = "past_key_values.", "present."


def _vision(model: Phi3V) -> list[Part]:
    crop, patches, hidden = model.params.vision.image_size, model.params.vision.grid**2, model.params.hidden_size
    tower = GraphSpec(
        "vision_embeddings",
        VisionEmbeddings(model),
        inputs=(TensorSpec("pixel_values", "float32", ("crops", 3, crop, crop)),),
        outputs=(TensorSpec("last_hidden_state", "float32", ("crops", patches, FEATURES)),),
    )
    projector = GraphSpec(
        "vision_projection",
        VisionProjection(model),
        inputs=(TensorSpec("input", "float32", ("batch", "tokens", PATCHES * FEATURES)),),
        outputs=(TensorSpec("last_hidden_state", "float32", ("batch", "tokens", hidden)),),
    )
    return [
        Part(tower, "openvino_vision_embeddings_model"),
        Part(projector, "openvino_vision_projection_model", companions=frozenset(SEPARATORS)),
    ]


def _embedding(model: Phi3V) -> list[Part]:
    spec = GraphSpec(
        "text_embeddings",
        TextEmbeddings(model),
        inputs=(TensorSpec("input", "int64", ("batch", "tokens")),),
        outputs=(TensorSpec("inputs_embeds", "float32", ("batch", "tokens", model.params.hidden_size)),),
    )
    return [Part(spec, "openvino_text_embeddings_model")]


def _decoder(model: Phi3V) -> list[Part]:
    params = model.params
    heads, head_dim = params.decoder.num_kv_heads, params.decoder.head_dim

    def cache(prefix: str, length: str) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(f"{prefix}{layer}.{part}", "float32", ("batch", heads, length, head_dim))
            for layer in range(params.num_hidden_layers)
            for part in ("key", "value")
        )

    inputs = (
        TensorSpec("inputs_embeds", "float32", ("batch", "tokens", params.hidden_size)),
        TensorSpec("attention_mask", "int64", ("batch", "total")),
        TensorSpec("position_ids", "int64", ("batch", "tokens")),
    )
    logits = TensorSpec("logits", "float32", ("batch", "tokens", params.vocab_size))
    spec = GraphSpec(
        "language_model",
        LanguageModel(model),
        inputs=(*inputs, *cache(PAST, "past")),
        outputs=(logits, *cache(PRESENT, "total")),
    )
    beams = TensorSpec(BEAMS, "int32", ("batch",))
    return [Part(spec, "openvino_language_model", _finish_decoder, (*inputs, beams), (logits,))]


def _finish_decoder(model: ov.Model) -> None:
    (largest,) = (node for node in model.get_ops() if node.get_type_name() == "ReduceMax")
    largest.set_friendly_name(LARGEST_POSITION)
    make_stateful(model, "inputs_embeds", PAST, PRESENT)


_PARTS = {"vision_encoder": _vision, "embed_tokens": _embedding, "decoder": _decoder}

CLIENT = OpenVinoClient(lambda spec: _PARTS[spec.name](root_of(spec, Phi3V)), (write_phi3_v,))
