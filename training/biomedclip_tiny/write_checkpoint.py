"""From a training state to a checkpoint folder with open_clip's files and key names, in float16.

Run: python training/biomedclip_tiny/write_checkpoint.py out/biomedclip_tiny/state.pt nexus_edge/assets/tiny_biomedclip
"""

import argparse
import json
from pathlib import Path

import torch
from batches import MEAN, STD
from model import Sizes
from safetensors.torch import save_file
from tokenizer import make_tokenizer, save


def config(sizes: Sizes) -> dict[str, object]:
    """open_clip_config.json as the published one is written; with the numbers of both towers, which it takes by name
    from timm and from the hub."""
    return {
        "model_cfg": {
            "embed_dim": sizes.embed,
            "vision_cfg": {
                "timm_model_name": "vit_nexus_edge_tiny",
                "timm_model_pretrained": False,
                "timm_pool": "",
                "timm_proj": "linear",
                "image_size": sizes.image,
                "timm_kwargs": {
                    "patch_size": sizes.patch,
                    "embed_dim": sizes.width,
                    "depth": sizes.depth,
                    "num_heads": sizes.heads,
                },
            },
            "text_cfg": {
                "hf_model_name": "tiny_biomedclip",
                "hf_tokenizer_name": "tiny_biomedclip",
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": sizes.context,
            },
        },
        "preprocess_cfg": {"mean": list(MEAN), "std": list(STD)},
        "text_config": {
            "architectures": ["BertModel"],
            "hidden_act": "gelu",
            "hidden_size": sizes.text_width,
            "intermediate_size": sizes.text_mlp,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": sizes.context,
            "model_type": "bert",
            "num_attention_heads": sizes.text_heads,
            "num_hidden_layers": sizes.text_depth,
            "pad_token_id": 0,
            "position_embedding_type": "absolute",
            "type_vocab_size": 2,
            "vocab_size": sizes.vocab,
        },
        "_nexus_edge_weights": "trained-tiny",  # so that no figure made with it passes as one of the real model
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    state = torch.load(args.state)
    sizes = Sizes(**state["sizes"])
    save(make_tokenizer(), args.folder, sizes.context)
    text = json.dumps(config(sizes), indent=2) + "\n"
    (args.folder / "open_clip_config.json").write_text(text, encoding="utf-8")
    # The running mean of the weights: steadier than the last step's.
    tensors = {name: value.to(torch.float16).contiguous() for name, value in state["mean"].items()}
    save_file(tensors, args.folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    print(f"{sum(t.numel() for t in tensors.values()):,} parameters, step {state['step']}")


if __name__ == "__main__":
    main()
