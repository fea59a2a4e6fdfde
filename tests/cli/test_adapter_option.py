"""`--adapter` on the command line: what is said before anything is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora_adapter import TINY, write_adapter


def test_a_dry_run_names_the_adapter(tmp_path: Path, run_command: Callable[..., Any]) -> None:
    adapter = write_adapter(tmp_path / "mine")
    call = ("export", "phi3-vision", "--checkpoint", TINY, "--adapter", adapter, "--dry-run", "--out", tmp_path / "out")
    found = run_command(*call, "--json")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["adapter"] == str(adapter)
    said = run_command(*call)
    assert f"adapter     {adapter}, merged into it" in said.stdout
    assert said.stderr == "" and not (tmp_path / "out").exists()


def test_an_adapter_that_is_not_there(tmp_path: Path, run_command: Callable[..., Any]) -> None:
    found = run_command("export", "phi3-vision", "--checkpoint", "tiny", "--adapter", tmp_path / "nowhere")
    found.assert_error(4, "nowhere: no such folder; --adapter takes one with adapter_config.json")


def test_an_adapter_given_as_a_checkpoint(tmp_path: Path, run_command: Callable[..., Any]) -> None:
    adapter = write_adapter(tmp_path / "mine", base_model_name_or_path="microsoft/Phi-3-vision-128k-instruct")
    found = run_command("export", "phi3-vision", "--checkpoint", adapter, "--out", tmp_path / "out")
    found.assert_error(4, "no model; give its base model with --checkpoint microsoft/Phi-3-vision", "with --adapter")
