"""An empty path, as a shell makes of a variable that is not set: refused by name, and never the current folder."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.cli.commands import find_commands

Run = Callable[..., Any]
OPTION = re.compile(r"^ +(?:-\w, )?(?P<name>--[\w-]+) +(?P<value>(?:FILE|DIR)(?:\.\w+)?)\s", re.MULTILINE)
ARGUMENT = re.compile(r"^Usage: nexus-edge \w+ \[OPTIONS\] \W*(?P<name>[A-Z]+)", re.MULTILINE)


@pytest.mark.parametrize("command", find_commands())
def test_every_option_whose_help_names_a_file_or_folder(command: str, desk: Path, run_command: Run) -> None:
    (desk / "manifest.json").write_bytes((desk / "out" / "toy-dual" / "manifest.json").read_bytes())
    for name, _ in OPTION.findall(run_command(command, "--help").stdout):
        done = run_command(command, name, "")
        done.assert_error(2, f"error: {name} is an empty path")


def test_names_that_may_be_paths(desk: Path, dual_bundle: Bundle, run_command: Run) -> None:
    run_command("export", "phi3-vision", "--checkpoint", "").assert_error(2, "--checkpoint is empty; see --help")
    run_command("classify", dual_bundle.root, desk / "images", "--bank", "").assert_error(2, "--bank is empty")
    run_command("parity", dual_bundle.root, "--format", "junit=").assert_error(2, "--format 'junit=': names no file")


@pytest.mark.parametrize("command", find_commands())
def test_every_option_whose_value_is_a_name(command: str, desk: Path, run_command: Run) -> None:
    help_ = run_command(command, "--help").stdout
    for name in ("--checkpoint", "--rungs", "--allow-skip", "--format", "--engine", "--device", "--target", "--bank"):
        if re.search(rf"^ +{name} [^-]", help_, re.MULTILINE) and not (command == "compare" and name == "--allow-skip"):
            run_command(command, name, "").assert_error(2, f"error: {name} is empty")


@pytest.mark.parametrize("option", ["--rungs", "--allow-skip"])
def test_a_list_of_rungs_that_names_none(option: str, dual_bundle: Bundle, run_command: Run) -> None:
    run_command("parity", dual_bundle.root, option, " , ").assert_error(2, f"{option} ' , ': names no rung")


@pytest.mark.parametrize("command", find_commands())
def test_every_first_argument(command: str, desk: Path, run_command: Run) -> None:
    (desk / "manifest.json").write_bytes((desk / "out" / "toy-dual" / "manifest.json").read_bytes())
    if ARGUMENT.search(run_command(command, "--help").stdout):
        run_command(command, "").assert_error(2, "empty")


def test_there_are_such_options_and_arguments(desk: Path, run_command: Run) -> None:
    found = {command: OPTION.findall(run_command(command, "--help").stdout) for command in find_commands()}
    assert {"run", "chat", "export", "classify", "parity", "compare", "bank", "embed", "search", "verify"} <= {
        command for command, options in found.items() if options
    }
    assert ("--out", "DIR") in found["export"] and ("--image", "FILE") in found["run"]
    with_arguments = [name for name in find_commands() if ARGUMENT.search(run_command(name, "--help").stdout)]
    assert {"run", "info", "search", "classify", "bench"} <= set(with_arguments)


def test_an_empty_text_is_no_path(toy_path: Path, run_command: Run) -> None:
    done = run_command("run", toy_path, "--prompt", "", "--json")
    assert done.exit_code == 0, done.stderr


def test_the_current_folder_can_be_named(toy_path: Path, monkeypatch: pytest.MonkeyPatch, run_command: Run) -> None:
    monkeypatch.chdir(toy_path)
    assert run_command("info", ".").exit_code == 0
