"""A small Llama-style tokenizer whose ids are not Phi-3's, and the folder of a checkpoint around it."""

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers

REPOSITORY = Path(__file__).parents[2]
# name: swallows the white space after it, is special. Only `</s>` is ordinary text in Phi-3's own tokenizer.
ADDED = {
    "<|end|>": (False, True),
    "<s>": (False, True),
    "<|assistant|>": (True, True),
    "<|user|>": (False, True),
    "</s>": (True, False),
    "<|system|>": (False, True),
    "<|endoftext|>": (False, True),
}
MERGES = [("▁", "t"), ("h", "e"), ("▁t", "he"), ("▁", "▁"), ("l", "l"), ("e", "ll")]


def llama_tokenizer() -> tokenizers.Tokenizer:
    """BPE with byte fallback: bytes, letters, digits, some punctuation, a literal replacement character, six merges."""
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces += ["▁", "\ufffd", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?<|>_é"]
    pieces += [left + right for left, right in MERGES]
    vocab = {"<unk>": 0} | {piece: id_ for id_, piece in enumerate(pieces, start=1)}
    model = models.BPE(vocab=vocab, merges=MERGES, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    core = tokenizers.Tokenizer(model)
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.add_special_tokens([tokenizers.AddedToken("<unk>", normalized=False)])
    for text, (strips_right, special) in ADDED.items():
        token = tokenizers.AddedToken(text, rstrip=strips_right, normalized=False)
        _ = core.add_special_tokens([token]) if special else core.add_tokens([token])
    return core


@pytest.fixture(scope="session")
def core() -> tokenizers.Tokenizer:
    return llama_tokenizer()


@pytest.fixture
def checkpoint(tmp_path: Path, core: tokenizers.Tokenizer) -> Path:
    """A checkpoint folder with all that processing reads, for 4 crops."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    core.save(str(folder / "tokenizer.json"))
    for name, content in {
        "config.json": {"model_type": "phi3_v", "vocab_size": core.get_vocab_size()},
        "tokenizer_config.json": {"bos_token": "<s>", "tokenizer_class": "LlamaTokenizer"},
        "preprocessor_config.json": {"num_crops": 4, "num_img_tokens": 144},
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    return REPOSITORY / "tests" / "golden"


@pytest.fixture(scope="session")
def real_checkpoint() -> Path:
    """The files of Phi-3-vision on the hub, which are Microsoft's and so not copied into this repository."""
    folder = REPOSITORY.parent / "shared" / "data" / "phi3_vision_hub_files"
    if not (folder / "tokenizer.json").is_file():
        pytest.skip("the real tokenizer.json is not this project's to copy, and ../shared is not here")
    return folder


@pytest.fixture(scope="session")
def biomedclip_golden(golden: Path) -> Path:
    """open_clip's recordings of a tiny BiomedCLIP, with its tokenizer and images."""
    return golden / "biomedclip_tiny"


@pytest.fixture(scope="session")
def photographs() -> list[Path]:
    """Blood smears under the microscope, 640 x 480 JPEG (BCCD, MIT licence)."""
    folder = REPOSITORY.parent / "shared" / "data" / "bccd" / "pictures"
    if not folder.is_dir():
        pytest.skip("the photographs stand in ../shared, which is not here")
    return sorted(folder.iterdir())


@pytest.fixture
def dual_checkpoint(tmp_path: Path) -> Path:
    """An open_clip folder with all that processing reads: images of 32 pixels, texts of 8 ids, single letters."""
    folder = tmp_path / "dual"
    folder.mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    config = {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"timm_model_name": "vit_base_patch16_224", "image_size": 32},
            "text_cfg": {"hf_model_name": "some/bert", "hf_tokenizer_name": "some/bert", "context_length": 8},
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 0.125]},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
