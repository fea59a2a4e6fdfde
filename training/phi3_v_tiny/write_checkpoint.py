"""From a training state to a checkpoint folder with the original's files, key names and dtype (bfloat16).

Run: python training/phi3_v_tiny/write_checkpoint.py out/tiny/state.pt nexus_edge/assets/tiny_phi3_v
"""

import argparse
import json
from pathlib import Path

import torch
from model import Sizes
from safetensors.torch import save_file
from tokenizer import save, train_tokenizer
from train import CHAT_TOKENS, ROPE, VOCAB


def config(sizes: Sizes, pad: int) -> dict[str, object]:
    """config.json as the official one is written, plus the description of the tower that small checkpoints need."""
    return {
        "architectures": ["Phi3VForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "embd_layer": {
            "embedding_cls": "image",
            "hd_transform_order": "sub_glb",
            "projection_cls": "mlp",
            "use_hd_transform": True,
            "with_learnable_separator": True,
        },
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": sizes.hidden,
        "img_processor": {
            "image_dim_out": sizes.vision_hidden,
            "model_name": "openai/clip-vit-large-patch14-336",
            "name": "clip_vision_model",
            "num_img_tokens": 144,
            "vision_config": {
                "hidden_act": "quick_gelu",
                "hidden_size": sizes.vision_hidden,
                "image_size": 336,
                "intermediate_size": sizes.vision_ffn,
                "layer_norm_eps": 1e-5,
                "num_attention_heads": sizes.vision_heads,
                "num_hidden_layers": sizes.vision_layers,
                "patch_size": 14,
            },
        },
        "initializer_range": 0.02,
        "intermediate_size": sizes.ffn,
        "max_position_embeddings": ROPE["max"],
        "model_type": "phi3_v",
        "num_attention_heads": sizes.heads,
        "num_hidden_layers": sizes.layers,
        "num_key_value_heads": sizes.heads,
        "original_max_position_embeddings": ROPE["original"],
        "pad_token_id": pad,
        "rms_norm_eps": 1e-5,
        "rope_scaling": {"long_factor": ROPE["long_factor"], "short_factor": ROPE["short_factor"], "type": "su"},
        "rope_theta": 10000.0,
        "sliding_window": ROPE["max"],
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": sizes.vocab,
        "_nexus_edge_weights": "trained-tiny",  # so that no figure made with it passes as one of the real model
    }


PREPROCESSOR = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "Phi3VImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "num_crops": 1,
    "num_img_tokens": 144,
    "processor_class": "Phi3VProcessor",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("state", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(VOCAB - CHAT_TOKENS)
    save(tokenizer, args.folder)
    files = {
        "config.json": config(Sizes(vocab=VOCAB), tokenizer.token_to_id("<|endoftext|>")),
        "preprocessor_config.json": PREPROCESSOR,
    }
    for name, content in files.items():
        (args.folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    # The running mean of the weights: steadier than the last step's.
    weights = torch.load(args.state, weights_only=False)["mean"]
    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in weights.items()}
    save_file(tensors, args.folder / "model.safetensors", metadata={"format": "pt"})
    print(f"{sum(t.numel() for t in tensors.values()):,} parameters")


if __name__ == "__main__":
    main()
