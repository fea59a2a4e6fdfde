"""`nexus-edge tune` and what it leaves behind; the bundles are toys, and so are the times."""

import json
from pathlib import Path

import pytest

from nexus_edge.axes import engines
from nexus_edge.bundle import Bundle
from nexus_edge.engines.openvino import session as openvino_session
from nexus_edge.engines.openvino.engine import OpenVinoEngine
from nexus_edge.engines.openvino.settings import OpenVinoSettings
from nexus_edge.engines.openvino.tuning import SETTINGS
from nexus_edge.errors import OutputError
from nexus_edge.runtimes import VLM, EngineOptions, load
from nexus_edge.runtimes.tuned import FOLDER_VARIABLE, Tuned, cache_file, remember, tuned
from nexus_edge.runtimes.tuning import Candidate, Part, candidates, fastest, settings_of

pytestmark = pytest.mark.slow

SLOW = OpenVinoSettings("bf16", 32, "u8")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def test_the_fastest_of_all_and_of_openvino() -> None:
    found = [
        Candidate("onnx", None, (Part("image", 0.5), Part("answers", 1.5))),
        Candidate("openvino", SLOW, (Part("image", 2.9), Part("answers", 0.1))),
        Candidate("openvino", OpenVinoSettings(), (Part("image", 4.0),)),
    ]
    assert fastest(found) == Tuned("onnx", SLOW)
    assert fastest(found[1:]) == Tuned("openvino", SLOW)
    assert fastest(found[:1]) == Tuned("onnx", OpenVinoSettings())


def test_remembered_per_bundle_and_threads_until_forgotten(toy_bundle: Bundle, dual_bundle: Bundle) -> None:
    assert tuned(toy_bundle, 1) == Tuned()
    remember(toy_bundle, 1, Tuned("onnx", SLOW))
    assert tuned(toy_bundle, 1) == Tuned("onnx", SLOW)
    assert tuned(toy_bundle, None) == tuned(dual_bundle, 1) == Tuned()
    remember(dual_bundle, 1, Tuned("onnx"))
    remember(toy_bundle, 1, None)
    assert tuned(toy_bundle, 1) == Tuned()
    assert tuned(dual_bundle, 1) == Tuned("onnx")


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"key": 3}'])
def test_a_damaged_file_means_that_nothing_was_measured(toy_bundle: Bundle, damage: str) -> None:
    cache_file().write_text(damage)
    assert tuned(toy_bundle, 1) == Tuned()


@pytest.mark.parametrize("change", [{"precision": "f8"}, {"quantization_group": "32"}, {"unknown": 1}])
def test_settings_of_another_version_are_not_used(toy_bundle: Bundle, change: dict[str, object]) -> None:
    remember(toy_bundle, 1, Tuned("onnx", SLOW))
    entries = json.loads(cache_file().read_text())
    next(iter(entries.values()))["openvino"].update(change)
    cache_file().write_text(json.dumps(entries))
    assert tuned(toy_bundle, 1) == Tuned()


def test_a_folder_that_cannot_be_written(toy_bundle: Bundle, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").write_text("")
    monkeypatch.setenv(FOLDER_VARIABLE, str(cache / "file"))
    with pytest.raises(OutputError, match="cannot be written"):
        remember(toy_bundle, 1, Tuned("onnx"))
    assert tuned(toy_bundle, 1) == Tuned()


def test_auto_takes_what_was_found(tiny_openvino: Bundle) -> None:
    """The bundle's first target is OpenVINO."""
    remember(tiny_openvino, 1, Tuned("onnx", SLOW))
    options = EngineOptions(threads=1)
    auto, default = load(tiny_openvino, options, engine="auto"), load(tiny_openvino, options)
    assert isinstance(auto, VLM)
    assert isinstance(default, VLM)
    assert not isinstance(auto.engine, OpenVinoEngine)
    assert isinstance(default.engine, OpenVinoEngine)
    assert default.engine.settings == SLOW.on(openvino_session.capabilities())


def test_every_way_to_run_is_measured(tiny_openvino: Bundle) -> None:
    found = list(candidates(tiny_openvino, 1))
    assert {candidate.engine for candidate in found} == {"onnx", "openvino"}
    assert len({candidate.openvino for candidate in found}) == len(found)
    assert all(candidate.seconds > 0 for candidate in found)
    assert {tuple(part.name for part in candidate.parts) for candidate in found} == {("image", "prompts", "answers")}


# What OpenVINO 2026 lists: on Sapphire Rapids and Zen 4, on a Xeon with VNNI or a CPU of AVX2 alone, on Arm.
CPUS = {
    "bf16": ("FP32", "INT8", "BIN", "BF16", "EXPORT_IMPORT"),
    "vnni or avx2": ("FP32", "INT8", "BIN", "EXPORT_IMPORT"),
    "arm": ("FP32", "FP16", "INT8", "BIN", "EXPORT_IMPORT"),
}


@pytest.mark.parametrize("cpu", CPUS)
def test_bfloat16_where_the_cpu_has_it(cpu: str, tiny_openvino: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default, where it was asked for, where it was tuned for, and in what tuning tries."""
    monkeypatch.setattr(openvino_session, "capabilities", lambda: CPUS[cpu])
    expected = "bf16" if cpu == "bf16" else "f32"
    tried = settings_of(engines()["openvino"])
    assert {settings.precision for settings in tried if settings} == {"f32", expected}
    assert len(tried) == (len(SETTINGS) if cpu == "bf16" else 3)
    asked = EngineOptions(threads=1, engine="openvino", openvino=SLOW)
    for options in (EngineOptions(threads=1), asked):
        model = load(tiny_openvino, options)
        assert isinstance(model, VLM) and isinstance(model.engine, OpenVinoEngine)
        assert model.engine.settings.precision == expected
    remember(tiny_openvino, 1, Tuned("openvino", SLOW))
    model = load(tiny_openvino, EngineOptions(threads=1))
    assert isinstance(model, VLM) and isinstance(model.engine, OpenVinoEngine)
    assert model.engine.settings == OpenVinoSettings(expected, SLOW.quantization_group, SLOW.cache)


def test_an_image_counts_as_much_as_it_takes() -> None:
    """Bfloat16 emulated: answers as fast as before, and the image eight times slower."""
    emulated = Candidate("openvino", SLOW, (Part("image", 103.0), Part("prompts", 30.0), Part("answers", 50.0)))
    real = Candidate(
        "openvino", OpenVinoSettings("f32"), (Part("image", 12.6), Part("prompts", 40.0), Part("answers", 51.0))
    )
    assert fastest([emulated, real]).openvino == real.openvino
