"""Phi-3-Vision in packages: crops to features, ids to embeddings, the decoder in chunks, and the head.

Everything has fixed shapes; see `phi3_v_modules` for what the app does between them. The decoder comes in two functions
that share weights and caches: one for pieces of a prompt, one for a token.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from torch import Tensor, nn

from nexus_edge.bundle import TensorSpec
from nexus_edge.interfaces.graph import GraphSpec
from nexus_edge.layers.hd_assembly import MERGED
from nexus_edge.models.phi3_v.host import SEPARATORS, SEPARATORS_GLOBAL_FIRST
from nexus_edge.models.phi3_v.model import Phi3V
from nexus_edge.models.phi3_v.static.modules import (
    SEPARATOR_ROWS,
    CropEncoder,
    DecoderChunk,
    Head,
    TokenEmbedding,
    cache_names,
    rotary_tables,
)
from nexus_edge.models.phi3_v.static.sizes import CROPS, PROMPT_TOKENS, kept_context
from nexus_edge.targets.coreml.family import Function, Package, StaticSplit, root_of
from nexus_edge.targets.coreml.schemes import IOS_BLOCKS

CHUNK_BYTES = 600_000_000
"""Weights of a package: an iPhone loads no single file of more than about 1 GB for the Neural Engine."""


def _vision(model: Phi3V) -> list[Package]:
    side, hidden = model.params.vision.image_size, model.params.hidden_size
    separators = SEPARATORS_GLOBAL_FIRST if model.params.global_first else SEPARATORS
    functions = tuple(
        Function(
            f"crops_{crops}",
            CropEncoder(model),
            (TensorSpec("pixel_values", "float32", (crops, 3, side, side)),),
            (
                TensorSpec("features", "float16", (crops * MERGED**2, hidden)),
                TensorSpec(separators, "float16", (SEPARATOR_ROWS, hidden)),
            ),
        )
        for crops in CROPS
    )
    note = (
        "Features of each crop, 12 x 12 row by row. The app lays them out: after each row of patches the first "
        "separator, between the crops and the global view the second; the crops come first, or the global view where "
        f"the separators are called {SEPARATORS_GLOBAL_FIRST}."
    )
    return [Package("vision_encoder", "vision", functions, "cpuAndNeuralEngine", note=note)]


def _embedding(model: Phi3V) -> list[Package]:
    functions = tuple(
        Function(
            f"tokens_{tokens}",
            TokenEmbedding(model),
            (TensorSpec("input_ids", "int32", (1, tokens)),),
            (TensorSpec("inputs_embeds", "float16", (1, tokens, model.params.hidden_size)),),
        )
        for tokens in (1, PROMPT_TOKENS)
    )
    note = "The app fills the positions of an image with its rows."
    return [Package("embed_tokens", "embedding", functions, "cpuOnly", note=note)]


def _decoder(model: Phi3V) -> list[Package]:
    chunks = chunks_of(model)
    head = Function(
        "main",
        Head(model),
        (TensorSpec("hidden_states", "float16", (1, 1, model.params.hidden_size)),),
        (TensorSpec("logits", "float16", (1, 1, model.params.vocab_size)),),
    )
    return [
        *(_chunk(model, layers, f"decoder_{index + 1}_of_{len(chunks)}") for index, layers in enumerate(chunks)),
        Package("head", "head", (head,), "cpuAndNeuralEngine", note="Takes the row of the last token."),
    ]


def _chunk(model: Phi3V, layers: range, file: str) -> Package:
    params, context = model.params, kept_context(model)
    heads, head_dim = params.decoder.num_kv_heads, params.decoder.head_dim

    def tables(processor: Path) -> Mapping[str, Tensor]:
        return rotary_tables(params.rope, context)

    def function(name: str, tokens: int) -> Function:
        shape = (1, tokens, params.hidden_size)
        return Function(
            name,
            DecoderChunk(model, layers, context),
            (
                TensorSpec("hidden_states", "float16", shape),
                TensorSpec("position", "int32", (1,)),
                TensorSpec("length", "int32", (1,)),
            ),
            (TensorSpec("output_hidden_states", "float16", shape),),
            states=tuple(TensorSpec(name, "float16", (1, heads, context, head_dim)) for name in cache_names(layers)),
            constants=tables,
        )

    note = (
        "One state for both functions. position: tokens in the caches, and position + tokens of the call at most "
        f"{context}; length: tokens of the whole prompt, later of everything, which decides about LongRoPE."
    )
    functions = (function("decode", 1), function("prefill", PROMPT_TOKENS))
    return Package(file, "decoder", functions, "cpuAndNeuralEngine", note=note, layers=layers)


def chunks_of(model: Phi3V) -> list[range]:
    """The decoder's layers in as few chunks of about equal length as keep to `CHUNK_BYTES`."""
    count = model.params.num_hidden_layers
    size = sum(_bytes(layer) for layer in model.model.layers)
    number = min(count, -(-size // CHUNK_BYTES))
    edges = [count * place // number for place in range(number + 1)]
    return [range(first, last) for first, last in pairwise(edges)]


def _bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


def _build(spec: GraphSpec, ios: int | None) -> Sequence[Package]:
    return _PACKAGES[spec.name](root_of(spec, Phi3V))


_PACKAGES: dict[str, Callable[[Phi3V], Sequence[Package]]] = {
    "vision_encoder": _vision,
    "embed_tokens": _embedding,
    "decoder": _decoder,
}
STATIC = StaticSplit(_build, IOS_BLOCKS, "the decoder's caches, which are states")
