"""Records what packages of the embedded checkpoints compute, for tests of the Swift runtime where Core ML is missing.

    OMP_NUM_THREADS=1 python tests/runtimes/coreml_calls.py runtimes/swift/Tests/NexusEdgeTests/Fixtures

A stand-in for Core ML replays the calls: it finds the outputs of a call by a hash of everything that goes into it, the
calls made before with the same state included. So the Swift runtime gets answers only if each number that it hands over
is the one that was expected here, in the expected order. The calls are made one by one in this file, as the Swift
runtime makes them; that the answer is right, is checked with the Python pipeline, which cuts its calls differently.

The decoder is written in two chunks, which for so small a model takes another limit of a package's size.
"""

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import nexus_edge
from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import open_checkpoint
from nexus_edge.engines.coreml.mil import MilModel
from nexus_edge.interfaces.facts import DualEncoderFacts
from nexus_edge.models.phi3_v.hd_layout import SIDE, Separators, lay_out_joined
from nexus_edge.models.phi3_v.static import packages as phi3_v
from nexus_edge.pipeline.export import export
from nexus_edge.processing.images import load_image
from nexus_edge.recipe import find_recipe
from nexus_edge.runtimes import VLM, DualEncoder, load

ASSETS = Path(nexus_edge.__file__).parent / "assets"
TWO_CHUNKS_BYTES = 300_000
QUESTION = "What is shown in this picture?"
LABELS = ["white blood cell", "red blood cell", "platelet"]
PIECE = 64
SMALL = 160
"""Pixels along the sides of images, which are kept unpacked: no decoder for them is where the tests run."""

Array = NDArray[Any]


@dataclass
class State:
    """The states of a package, and a hash of what was done to them."""

    values: Any = None
    history: bytes = b""


@dataclass
class Recorder:
    """Makes calls and keeps what they gave."""

    folder: Path
    calls: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    _models: dict[str, MilModel] = field(default_factory=dict)

    def call(
        self, package: str, function: str, inputs: dict[str, Array], state: State | None = None
    ) -> dict[str, Array]:
        """Outputs by name, of the type that the package declares."""
        if package not in self._models:
            self._models[package] = MilModel.open(self.folder / package)
        program = self._models[package].functions[function]
        if state is not None and state.values is None:
            state.values = program.new_state()
        key = _key(package, function, inputs, state)
        found = program.run(inputs, None if state is None else state.values, "fp16")
        outputs = {name: found[name].astype(program.outputs[name].dtype) for name in sorted(found)}
        self.calls[key.hex()] = [self._kept(name, value) for name, value in outputs.items()]
        if state is not None:
            state.history = key
        return outputs

    def _kept(self, name: str, value: Array) -> dict[str, Any]:
        offset = len(self.data)
        self.data += value.tobytes()
        return {"name": name, "dtype": str(value.dtype), "shape": list(value.shape), "offset": offset}

    def write(self, folder: Path, expected: dict[str, Any]) -> None:
        """calls.json, calls.bin, and what an app reads of the bundle beside its packages."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder.parent / "processor", folder / "processor")
        shutil.copy(self.folder.parent / "manifest.json", folder)
        table = {"calls": self.calls, **expected}
        (folder / "calls.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
        (folder / "calls.bin").write_bytes(bytes(self.data))


def _key(package: str, function: str, inputs: dict[str, Array], state: State | None) -> bytes:
    digest = sha256(f"{package}\n{function}\n".encode())
    for name in sorted(inputs):
        value = inputs[name]
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    digest.update(b"" if state is None else state.history)
    return digest.digest()[:16]


def record_answer(bundle: Bundle, target: Path) -> None:
    """A question about an image, greedily answered."""
    recorder = Recorder(bundle.root / "coreml")
    image = load_image(ASSETS / "tiny_phi3_v" / "heldout" / "004.png").resize((SMALL, SMALL))
    model = load(bundle, engine="coreml")
    assert isinstance(model, VLM)
    pieces = list(model.generate(QUESTION, [image], max_new_tokens=32))
    ids, rows = _prompt(recorder, model, image)
    tokens = _greedy(recorder, ids, rows, model.processor.stop_ids)
    decoder = model.processor.stream_decoder()
    text = "".join(decoder.push(token) for token in tokens) + decoder.flush()
    assert text == "".join(pieces), f"{text!r} here, {''.join(pieces)!r} in the Python pipeline"
    recorder.write(
        target,
        {
            "question": QUESTION,
            "answer": text,
            "prompt_tokens": len(ids),
            "new_tokens": len(tokens),
            "picture": _image(image),
        },
    )
    _write_image(target, image)


def _prompt(recorder: Recorder, model: VLM, image: Any) -> tuple[list[int], Array]:
    """Ids with -1 where the image is, and the rows in its places: float16 [places, hidden]."""
    inputs = model.processor(model.wrap(QUESTION, 1), [image])
    height, width = (int(size) for size in inputs["image_sizes"][0])
    grid = (height // 336, width // 336)
    views, separators = [], np.zeros(0, np.float16)
    for crop in inputs["pixel_values"][0, : 1 + grid[0] * grid[1]]:
        outputs = recorder.call("vision_encoder.mlpackage", "crops_1", {"pixel_values": crop[None]})
        views.append(outputs["features"].reshape(SIDE, SIDE, -1))
        separators = outputs["separators"]
    rows = lay_out_joined(np.stack(views), grid, Separators(*separators))
    return [int(id_) for id_ in inputs["input_ids"][0]], rows


def _greedy(recorder: Recorder, ids: list[int], features: Array, stop_ids: Any) -> list[int]:
    states: dict[str, State] = {}
    hidden = features.shape[1]
    last, used = np.zeros((1, 1, hidden), np.float16), 0
    for start in range(0, len(ids), PIECE):
        part = ids[start : start + PIECE]
        places = [place for place, id_ in enumerate(part) if id_ < 0]
        width = PIECE if len(part) > 1 else 1
        padded = [max(id_, 0) for id_ in part] + [0] * (width - len(part))
        rows = np.zeros((1, width, hidden), np.float16)
        if len(places) < len(part):
            rows = _embedded(recorder, padded)
        rows[0, places] = features[used : used + len(places)]
        used += len(places)
        grown = _decoded(recorder, rows, start, len(ids), states)
        last = grown[:, len(part) - 1 : len(part)]
    tokens: list[int] = []
    while True:
        logits = recorder.call("head.mlpackage", "main", {"hidden_states": last})["logits"]
        token = int(logits[0, 0].argmax())
        if token in stop_ids:
            return tokens
        position = len(ids) + len(tokens)
        tokens.append(token)
        last = _decoded(recorder, _embedded(recorder, [token]), position, position + 1, states)


def _embedded(recorder: Recorder, ids: list[int]) -> Array:
    function = f"tokens_{len(ids)}"
    inputs = {"input_ids": np.array([ids], np.int32)}
    return recorder.call("embed_tokens.mlpackage", function, inputs)["inputs_embeds"]


def _decoded(recorder: Recorder, rows: Array, position: int, length: int, states: dict[str, State]) -> Array:
    numbers = {"position": np.array([position], np.int32), "length": np.array([length], np.int32)}
    function = "decode" if rows.shape[1] == 1 else "prefill"
    for package in ("decoder_1_of_2.mlpackage", "decoder_2_of_2.mlpackage"):
        state = states.setdefault(package, State())
        rows = recorder.call(package, function, {"hidden_states": rows, **numbers}, state)["output_hidden_states"]
    return rows


def record_labels(bundle: Bundle, target: Path) -> None:
    """Probabilities of three labels for an image."""
    recorder = Recorder(bundle.root / "coreml")
    image = load_image(ASSETS / "tiny_biomedclip" / "heldout" / "cell_000.jpg").resize((SMALL, SMALL - 1))
    towers = load(bundle, engine="coreml")
    assert isinstance(towers, DualEncoder)
    result = towers.classify(image, LABELS)
    pixels = towers.processor.images([image])
    recorder.call("image_encoder.mlpackage", "pixel_values", {"pixel_values": pixels})
    graphs, facts = bundle.manifest.graphs["coreml"], bundle.manifest.facts
    assert isinstance(facts, DualEncoderFacts)
    texts = [graph.inputs[0].shape[1] for graph in graphs.values() if graph.program and graph.program.role == "text"]
    lengths = [length for length in texts if isinstance(length, int)]
    for prompt in (template.format(label) for label in LABELS for template in facts.templates):
        ids = [int(id_) for id_ in towers.processor.texts([prompt])[0] if id_]
        length = min(length for length in lengths if length >= len(ids))
        filled = np.array([ids + [0] * (length - len(ids))], np.int32)
        function = "main" if len(lengths) == 1 else f"tokens_{length}"
        recorder.call("text_encoder.mlpackage", function, {"input_ids": filled})
    values = zip(result.labels, result.similarities, result.probabilities, strict=True)
    labels = {label: {"similarity": float(cosine), "probability": float(share)} for label, cosine, share in values}
    recorder.write(target, {"labels": labels, "picture": _image(image)})
    _write_image(target, image)


def _image(image: Any) -> dict[str, Any]:
    return {"file": "picture.rgb", "width": image.width, "height": image.height}


def _write_image(target: Path, image: Any) -> None:
    (target / "picture.rgb").write_bytes(image.tobytes())


def main(target: Path) -> None:
    """Export, run, write; the folders appear below `target`."""
    with tempfile.TemporaryDirectory() as name:
        usual, phi3_v.CHUNK_BYTES = phi3_v.CHUNK_BYTES, TWO_CHUNKS_BYTES
        try:
            answers = _exported("phi3-vision", "int4", Path(name))
        finally:
            phi3_v.CHUNK_BYTES = usual
        record_answer(answers, target / "phi3-vision")
        record_labels(_exported("biomedclip", "int8", Path(name)), target / "biomedclip")


def _exported(model: str, scheme: str, work: Path) -> Bundle:
    recipe = find_recipe(model, scheme).with_targets(("coreml",))
    export(open_checkpoint("tiny", recipe.checkpoint), recipe, work / model, parity=False)
    return Bundle.open(work / model)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
