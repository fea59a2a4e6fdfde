"""P0 on what our own runtime does not read: files of other runtimes, the licence; and the processor's files."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mutations
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.checkpoints import Checkpoint
from nexus_edge.parity.companions import companion_problems, processor_problems
from nexus_edge.parity.ladder import prepare, run

Copy = Callable[[Bundle], Bundle]


def changed(path: Path, keys: tuple[str, ...], value: Any) -> None:
    content = json.loads(path.read_text("utf-8"))
    table = content
    for key in keys[:-1]:
        table = table[key]
    table[keys[-1]] = value
    path.write_text(json.dumps(content), "utf-8")


def test_what_an_export_wrote_is_right(tiny_openvino: Bundle, checkpoint: Checkpoint) -> None:
    assert companion_problems(tiny_openvino, "onnx") == []
    assert companion_problems(tiny_openvino, "openvino") == []
    assert processor_problems(tiny_openvino, checkpoint) == []


@pytest.mark.parametrize(
    ("file", "keys", "value", "words"),
    [
        ("onnx/genai_config.json", ("model", "eos_token_id"), [2], "says model.eos_token_id [2], not ["),
        ("onnx/genai_config.json", ("search", "do_sample"), True, "says search.do_sample True, not False"),
        ("onnx/genai_config.json", ("search", "top_k"), 1, "says search.top_k 1, not None"),
        ("onnx/processor_config.json", ("processor", "name"), "x", "says processor.name 'x', not 'image_processing'"),
        ("onnx/tokenizer_config.json", ("chat_template",), "{{ 1 }}", "says chat_template '{{ 1 }}', not"),
        ("openvino/config.json", ("num_hidden_layers",), 9, "says num_hidden_layers 9, not"),
        ("openvino/generation_config.json", ("eos_token_id",), [], "says eos_token_id [], not ["),
    ],
)
def test_a_changed_value_is_named(
    tiny_openvino: Bundle, copy_of: Copy, file: str, keys: tuple[str, ...], value: Any, words: str
) -> None:
    bundle = copy_of(tiny_openvino)
    changed(bundle.root / file, keys, value)
    (problem,) = companion_problems(bundle, file.partition("/")[0])
    assert problem.startswith(f"{file} {words}")


def test_a_tokenizer_that_another_library_made_is_not_held_against_it(tiny_openvino: Bundle, copy_of: Copy) -> None:
    bundle = copy_of(tiny_openvino)
    path = bundle.root / "openvino" / "openvino_tokenizer.xml"
    path.write_text(path.read_text("utf-8").replace('type="Convert"', 'type="Concert"'), "utf-8")
    assert companion_problems(bundle, "openvino") == ["openvino/openvino_tokenizer.xml has other bytes"]
    version = '_tokenizers_version value="'
    path.write_text(path.read_text("utf-8").replace(version, f"{version}9"), "utf-8")
    assert companion_problems(bundle, "openvino") == []


def test_files_that_are_missing_or_foreign_are_named(tiny_bundle: Bundle, copy_of: Copy) -> None:
    bundle = copy_of(tiny_bundle)
    (bundle.root / "onnx" / "chat_template.jinja").write_text("{{ messages }}")  # GenAI would take it
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (bundle.root / "onnx" / name).touch()
    (bundle.root / "onnx" / "genai_config.json").unlink()
    assert companion_problems(bundle, "onnx") == [
        "onnx/genai_config.json is missing",
        "onnx/chat_template.jinja is none that an export writes",
    ]


def test_without_the_checkpoint_p0_is_not_whole(tiny_bundle: Bundle) -> None:
    prepared = prepare(tiny_bundle)
    prepared.checkpoint = "nowhere: is no longer there"
    report = run(prepared, ("P0",))
    assert report.verdict == "incomplete"
    assert "P0 was not run in part: processor files were not held" in report.reason
    assert run(prepared, ("P0",), skippable=("P0",)).verdict == "passed"


def test_the_ladder_is_red(tiny_bundle: Bundle, checkpoint: Checkpoint, copy_of: Copy) -> None:
    bundle = copy_of(tiny_bundle)
    changed(bundle.root / "onnx" / "genai_config.json", ("model", "bos_token_id"), 5)
    changed(bundle.root / "processor" / "tokenizer_config.json", ("model_max_length",), 7)
    source = replace(bundle.manifest.source, license="none", base_model="another/model")
    lying = mutations.rehash(replace(bundle, manifest=replace(bundle.manifest, source=source)))
    report = run(prepare(lying, checkpoint), ("P0",))
    reasons = {check.stage: str(check.problem) for check in report.rungs[0].checks if check.status == "failed"}
    assert reasons.keys() == {"companions", "processor"}
    assert "bos_token_id 5" in reasons["companions"]
    assert "model_max_length 7" in reasons["processor"]
    told = " ".join(report.rungs[0].notes)
    assert "license is 'none' in the manifest, and " in told
    assert "base_model is 'another/model' in the manifest, and None by the checkpoint" in told
