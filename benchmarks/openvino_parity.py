"""How near the IRs of `openvino_speed.py` come to the float32 model, with the settings that their runtimes take.

    python benchmarks/openvino_parity.py out/openvino_speed --layers 8

Run `openvino_speed.py` with the same --layers before. Compares the logits after each of 64 random ids, and a tower's
features of an image of noise, with those of the PyTorch reference on the unquantized weights. The weights are
synthetic, so this tells rounding errors from each other and nothing about answers. 4 bytes per weight of memory.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import openvino as ov
import torch
import typer

from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.models.loading import build_model, load_weights
from nexus_edge.models.phi3_v.clients.openvino_genai_modules import LanguageModel, TextEmbeddings, VisionEmbeddings
from nexus_edge.models.phi3_v.model import Phi3V

TOKENS = 64
Outputs = tuple[np.ndarray, np.ndarray]


def reference(checkpoint: Path, ids: np.ndarray, pixels: np.ndarray) -> Outputs:
    """Logits [tokens, vocab] and features [576, 1024] of PyTorch in float32."""
    source = open_checkpoint(str(checkpoint), "")
    with torch.device("meta"):
        model = build_model(source)
    load_weights(model, source, torch.float32)
    assert isinstance(model, Phi3V)
    block = model.params.decoder
    empty = torch.zeros(1, block.num_kv_heads, 0, block.head_dim)
    with torch.inference_mode():
        embeds = TextEmbeddings(model)(torch.from_numpy(ids))
        mask = torch.ones_like(torch.from_numpy(ids))
        past = [empty] * (2 * model.params.num_hidden_layers)
        logits = LanguageModel(model)(embeds, mask, torch.arange(ids.shape[1])[None], *past)[0]
        features = VisionEmbeddings(model)(torch.from_numpy(pixels))
    return logits[0].numpy(), features[0].numpy()


def of_folder(folder: Path, properties: dict[str, Any], ids: np.ndarray, pixels: np.ndarray) -> Outputs:
    """The same of a folder of IRs."""
    core = ov.Core()

    def run(name: str, inputs: dict[Any, np.ndarray]) -> np.ndarray:
        compiled = core.compile_model(folder / f"openvino_{name}_model.xml", "CPU", properties)
        return np.array(compiled(inputs)[0][0])

    embeds = run("text_embeddings", {0: ids})[None]
    places = {"attention_mask": np.ones_like(ids), "position_ids": np.arange(ids.shape[1])[None]}
    language = core.compile_model(folder / "openvino_language_model.xml", "CPU", properties)
    logits = language({"inputs_embeds": embeds, "beam_idx": np.zeros(1, np.int32), **places})[0]
    return np.array(logits[0]), run("vision_embeddings", {0: pixels})


def main(
    work: Annotated[Path, typer.Argument(help="The folder of openvino_speed.py.")] = Path("out/openvino_speed"),
    layers: Annotated[int, typer.Option(help="Decoder layers.")] = 8,
) -> None:
    """Print a Markdown table."""
    random = np.random.default_rng(0)
    ids = random.integers(3, 300, (1, TOKENS))
    pixels = random.standard_normal((1, 3, 336, 336)).astype(np.float32)
    peer, ours = work / f"peer-{layers}", work / f"bundle-{layers}" / "openvino"
    exact = OpenVinoSettings("f32", 0, "f32").properties(None)
    rows: dict[str, Callable[[], Outputs]] = {
        "optimum-intel, GenAI's settings": lambda: of_folder(peer, {}, ids, pixels),
        "our IR, GenAI's settings": lambda: of_folder(ours, {}, ids, pixels),
        "our IR, our settings": lambda: of_folder(ours, OpenVinoSettings().properties(None), ids, pixels),
        "optimum-intel, nothing else rounded": lambda: of_folder(peer, exact, ids, pixels),
        "our IR, nothing else rounded": lambda: of_folder(ours, exact, ids, pixels),
    }
    logits, features = reference(work / f"checkpoint-{layers}", ids, pixels)
    print("| IR | logits, relative L2 | same first token | tower's features, relative L2 |\n|---|---|---|---|")
    for name, compute in rows.items():
        found, seen = compute()
        same = (found.argmax(1) == logits.argmax(1)).mean()
        print(f"| {name} | {distance(found, logits):.4f} | {same:.0%} | {distance(seen, features):.4f} |")


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Relative L2."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


if __name__ == "__main__":
    typer.run(main)
