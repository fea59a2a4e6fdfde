"""A toy bundle that `verify` can replay in a second, and one whose decoder was exchanged.

Its goldens are what its own graphs compute: they serve to see drift reported, not to prove anything of the toy.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import toy_vlm
from onnx import numpy_helper

from nexus_edge import processing
from nexus_edge.bundle import Bundle
from nexus_edge.bundle.hashing import hash_file
from nexus_edge.checkpoints import write_tensors
from nexus_edge.engines.probes import runner_of
from nexus_edge.parity.vlm.replay import decoder_inputs
from nexus_edge.parity.vlm.sampling import sample
from nexus_edge.recipe import find_recipe

PROMPT = "<|user|>\nHow many ships pass?<|end|>\n<|assistant|>\n"


@pytest.fixture(scope="session")
def replayable(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Read-only."""
    bundle = toy_vlm.write_bundle(tmp_path_factory.mktemp("ci") / "toy-vlm")
    recipe = find_recipe("phi3-vision", "fp32").with_targets(("onnx",)).to_json()
    # Of the format before facts, which nobody worked out for the toy.
    bundle = replace(bundle, manifest=replace(bundle.manifest, recipe=recipe, format_version=2))
    ids = processing.from_checkpoint(bundle.root)(PROMPT, [])["input_ids"]
    stages = {name: runner_of("onnx").open(bundle.graph("onnx", name), name) for name in ("embed_tokens", "decoder")}
    none = np.zeros((0, toy_vlm.HIDDEN), np.float32)
    embeds = stages["embed_tokens"].run({"input_ids": ids, "image_features": none})["inputs_embeds"]
    logits = stages["decoder"].run(decoder_inputs(stages["decoder"], embeds, {}))["logits"]
    (bundle.root / "parity").mkdir()
    write_tensors(
        bundle.root / "parity" / "goldens.safetensors",
        {
            "text.prompt": np.frombuffer(PROMPT.encode(), np.uint8),
            "text.num_crops": np.array([1]),
            "text.input_ids": ids,
            "text.inputs_embeds": sample("inputs_embeds", embeds),
            "text.logits": logits,
            "text.greedy_ids": logits[0, -1:].argmax(-1),
            "text.greedy_margins": np.ones(1, np.float32),
        },
    )
    return bundle.with_parity({"verdict": "passed", "rungs": {}, "targets": {}, "reason": ""})


@pytest.fixture(scope="session")
def drifted(replayable: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same with a last matrix that is 10 % larger, and hashes that say so; read-only."""
    root = tmp_path_factory.mktemp("ci-drifted") / "toy-vlm"
    shutil.copytree(replayable.root, root)
    path = root / "onnx" / "decoder.onnx"
    model = onnx.load(path, load_external_data=True)
    head = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) * np.float32(1.1), head.name))
    onnx.save(model, path)
    manifest = replayable.manifest
    files = {**manifest.files, "onnx/decoder.onnx": hash_file(path)}
    (root / "manifest.json").write_text(replace(manifest, files=files).to_json(), "utf-8")
    return Bundle.open(root)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Examples for `compare`, whose toys answer noise."""
    path = tmp_path / "questions.jsonl"
    path.write_text(
        '{"question": "How many ships?"}\n{"id": "b", "question": "Where?", "answers": ["there"]}\n', "utf-8"
    )
    return path
