"""A wrong type given to the Python API: one line that names the argument, and no work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nexus_edge
from nexus_edge import EngineOptions, GenerationOptions, models, processing, runtimes
from nexus_edge.bundle import Bundle
from nexus_edge.errors import ImageError, InputError
from nexus_edge.processing.images import load_image

WHITE = np.full((8, 8, 3), 255, np.uint8)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", "3"), ("max_new_tokens", 2.5), ("max_new_tokens", True), ("top_k", "1"), ("seed", 1.5),
        ("logprobs", 1.5), ("temperature", "1"), ("temperature", None), ("top_p", "1"), ("min_p", None),
        ("repetition_penalty", "1"), ("stop", [1]), ("stop", None), ("stop", ["\ud800"]),
    ],
)  # fmt: skip
def test_options_of_an_answer(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        GenerationOptions(**{name: value})


def test_numbers_of_numpy_are_numbers() -> None:
    GenerationOptions(max_new_tokens=np.int64(3), temperature=np.float32(0.5), seed=np.int32(1))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("threads", "2"), ("sessions", 1.5), ("engine", 1), ("device", None), ("keep_vision", "no"), ("openvino", {})],
)
def test_options_of_an_engine(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{name} must be "):
        EngineOptions(**{name: value})


def test_engines_and_devices_that_nobody_has() -> None:
    with pytest.raises(InputError, match=r"^no engine 'onx'; did you mean 'onnx'\?$"):
        EngineOptions(engine="onx")
    with pytest.raises(InputError, match=r"^no device 'cpu'; did you mean 'CPU'\?$"):
        EngineOptions(device="cpu")
    for device in ("CPU", "GPU.1", "NPU", "AUTO:GPU,CPU"):
        EngineOptions(device=device)


CALLS: dict[str, Callable[[Path], object]] = {
    "options": lambda folder: nexus_edge.load(folder, {"threads": 1}),  # type: ignore[arg-type]
    "bundle": lambda folder: nexus_edge.load_vlm(None),  # type: ignore[arg-type]
    "model": lambda folder: nexus_edge.export(None),  # type: ignore[arg-type]
}


def test_a_model_of_two_towers(dual_bundle: Bundle) -> None:
    with nexus_edge.load_dual_encoder(dual_bundle) as model:
        calls: list[tuple[str, Callable[[], object]]] = [
            ("labels", lambda: model.classify(WHITE, None)),  # type: ignore[arg-type]
            (r"labels\[0\]", lambda: model.classify(WHITE, [1])),  # type: ignore[arg-type, list-item]
            (r"labels\[1\]", lambda: model.classify(WHITE, ["a", "\udcff"])),
            ("templates", lambda: model.classify(WHITE, ["a"], "a {}")),
            ("texts", lambda: model.embed_texts(None)),  # type: ignore[arg-type]
            (r"texts\[0\] is not valid Unicode at position 1", lambda: model.embed_texts(["a\ud800"])),
            ("images", lambda: model.classify(None, ["a", "b"])),  # type: ignore[call-overload]
            ("batch_size", lambda: model.embed_texts(["a"], batch_size="2")),  # type: ignore[arg-type]
        ]
        for name, call in calls:
            with pytest.raises(InputError, match=f"^{name}"):
                call()


@pytest.mark.parametrize("name", CALLS)
def test_what_opens_and_makes_bundles(name: str, dual_bundle: Bundle) -> None:
    with pytest.raises(InputError, match=f"^{name} must be "):
        CALLS[name](dual_bundle.root)


def test_a_model_that_answers(toy_bundle: Bundle) -> None:
    model = nexus_edge.load_vlm(toy_bundle)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("prompt must be a text", lambda: model.answer(None)),  # type: ignore[arg-type]
        ("prompt must be a text", lambda: model.answer(b"hi")),  # type: ignore[arg-type]
        ("prompt must be a text", lambda: model.answer(["a"])),  # type: ignore[arg-type]
        ("raw must be", lambda: model.answer("Hi", raw="no")),  # type: ignore[arg-type]
        ("text must be a text", lambda: model.chat().send(5)),  # type: ignore[arg-type]
        ("options must be", lambda: model.chat({})),  # type: ignore[arg-type]
        ("system must be a text", lambda: model.chat(system=5)),  # type: ignore[arg-type]
    ]
    for message, call in calls:
        with pytest.raises(InputError, match=f"^{message}"):
            call()
    model.close()
    with pytest.raises(InputError, match="this model is closed"):
        model.session()


EMPTY: dict[str, Callable[[Any], object]] = {
    "load": nexus_edge.load,
    "load_vlm": nexus_edge.load_vlm,
    "load_dual_encoder": nexus_edge.load_dual_encoder,
    "verify": nexus_edge.verify,
    "Bundle.open": Bundle.open,
    "models": models.from_checkpoint,
    "processing": processing.from_checkpoint,
    "processing, dual": processing.dual_from_checkpoint,
    "out": lambda path: nexus_edge.export(out=path),
    "adapter": lambda path: nexus_edge.export(adapter=path),
    "recipe": lambda path: nexus_edge.export(recipe=path),
    "calibration": lambda path: nexus_edge.export(calibration=path),
    "ImageIndex": runtimes.ImageIndex.load,
    "LabelBank": runtimes.LabelBank.load,
    "find_images": lambda path: runtimes.find_images([path]),
    "find_prompts": runtimes.find_prompts,
    "image": load_image,
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_path_is_not_the_current_folder(
    name: str, dual_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dual_bundle.root)
    with pytest.raises((InputError, ImageError), match=r"^[\w ]+ is an empty path; "):
        EMPTY[name]("")
    for value in (7, "a\0b"):  # no operating system has files of the second name
        with pytest.raises((InputError, ImageError)):
            EMPTY[name](value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("checkpoint", value) for value in (5, b"tiny", ["tiny"])),
        *(("targets", value) for value in ("onnx", 5, [5], None)),
        *(("ignored_keys", value) for value in ("a.b", [5])),
        *((name, value) for name in ("force", "parity") for value in (None, 1, "yes")),
        *(("adapter", 5), ("recipe", 5), ("out", 5), ("calibration", 5), ("progress", None), ("model", None)),
    ],
)
def test_export_names_the_argument(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"^{name}(\[0\])? must be "):
        nexus_edge.export(**{"checkpoint": "tiny", "out": tmp_path / "out", name: value})  # type: ignore[arg-type]
