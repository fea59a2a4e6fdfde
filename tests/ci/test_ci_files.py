"""The CI files, run: each declared step in a shell, as its service would run it, on a good and on a drifted bundle."""

import json
import os
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from lxml import etree

from nexus_edge.bundle import Bundle
from nexus_edge.compare.budgets import BUDGETS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "ci" / "github" / "action.yml"
TEMPLATE = ROOT / "ci" / "gitlab" / "nexus-edge.yml"
SCHEMA = Path(__file__).parent / "junit.xsd"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """An empty folder with the real command on its path, and a `python` that only writes down what pip was asked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in {
        "nexus-edge": f'exec "{sys.executable}" -c "from nexus_edge.cli import main; main()" "$@"',
        "python": 'echo "$@" >> installed.txt',
    }.items():
        path = tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def shell(script: str, desk: Path, variables: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        **variables,
        "PATH": f"{desk / 'tools'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(desk / "summary.md"),
    }
    return subprocess.run([*command, script], cwd=desk, env=env, capture_output=True, text=True, check=False)


def run_action(desk: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Every step in order, until one fails; only `if` and `${{ inputs.name }}` are understood."""
    action = yaml.safe_load(ACTION.read_text("utf-8"))
    values = {name: str(entry.get("default", "")) for name, entry in action["inputs"].items()} | inputs
    assert set(inputs) <= set(action["inputs"])

    def filled(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: values[match[1]], text)

    for step in action["runs"]["steps"]:
        condition = re.fullmatch(r"\$\{\{ inputs\.(\w+) != '' \}\}", step.get("if", ""))
        assert condition or "if" not in step
        if condition and not values[condition[1]]:
            continue
        assert "${{" not in step["run"], "an input inside of a script is an injection"
        env = {name: filled(value) for name, value in step.get("env", {}).items()}
        done = shell(step["run"], desk, env, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
        if done.returncode:
            return done
    return done


def run_job(desk: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """before_script and script of the template's job, in one shell that ends at the first error, as GitLab's does."""
    job = yaml.safe_load(TEMPLATE.read_text("utf-8"))[".nexus-edge"]
    assert set(variables) <= set(job["variables"])
    script = "\n".join([*job["before_script"], *job["script"]])
    return shell(script, desk, job["variables"] | variables, "sh", "-ec")


def test_the_files_are_valid_for_their_services() -> None:
    for path, name in ((ACTION, "vendor.github-actions"), (TEMPLATE, "vendor.gitlab-ci")):
        document: Any = yaml.safe_load(path.read_text("utf-8"))
        validator = jsonschema.validators.validator_for(get_builtin_schema(name))
        validator(get_builtin_schema(name)).validate(document)


def test_the_action_verifies_a_good_bundle(desk: Path, replayable: Bundle) -> None:
    done = run_action(desk, bundle=str(replayable.root))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (desk / "installed.txt").read_text() == "-m pip install --disable-pip-version-check nexus-edge\n"
    assert "::notice title=verify of toy-vlm%3A passed::" in done.stdout
    assert "::error" not in done.stdout
    assert "# Parity of toy-vlm: passed" in (desk / "summary.md").read_text("utf-8")
    reports = desk / "nexus-edge-reports"
    etree.XMLSchema(etree.parse(SCHEMA)).assertValid(etree.parse(reports / "junit.xml"))
    assert json.loads((reports / "results.sarif").read_text("utf-8"))["runs"][0]["results"] == []


def test_the_action_is_red_for_a_drifted_one_and_leaves_its_reports(desk: Path, drifted: Bundle) -> None:
    done = run_action(desk, bundle=str(drifted.root), requirement="")
    assert done.returncode == 3
    assert not (desk / "installed.txt").exists()
    assert "onnx/decoder.onnx,line=1,title=verify decoder::" in done.stdout
    assert list(etree.parse(desk / "nexus-edge-reports" / "junit.xml").iter("failure"))


def test_an_input_with_shell_signs_is_a_name_and_nothing_else(desk: Path) -> None:
    done = run_action(desk, bundle='a"; touch broken; $(touch broken) `touch broken`', requirement="")
    assert done.returncode == 2
    assert "is not a bundle" in done.stderr
    assert not (desk / "broken").exists()
    assert run_action(desk, bundle="x", gate="verifi", requirement="").returncode == 2


def test_the_gitlab_job_verifies(desk: Path, replayable: Bundle, drifted: Bundle) -> None:
    done = run_job(desk, BUNDLE=str(replayable.root))
    assert done.returncode == 0, done.stdout + done.stderr
    reports = desk / "nexus-edge-reports"
    assert json.loads((reports / "code-quality.json").read_text("utf-8")) == []
    assert run_job(desk, BUNDLE=str(drifted.root), REQUIREMENT="").returncode == 3
    assert "blocker" in {entry["severity"] for entry in json.loads((reports / "code-quality.json").read_text("utf-8"))}
    etree.XMLSchema(etree.parse(SCHEMA)).assertValid(etree.parse(reports / "junit.xml"))


def test_what_the_template_collects_is_what_its_script_writes(desk: Path, replayable: Bundle) -> None:
    job = yaml.safe_load(TEMPLATE.read_text("utf-8"))[".nexus-edge"]
    run_job(desk, BUNDLE=str(replayable.root), REQUIREMENT="")
    for path in job["artifacts"]["reports"].values():
        assert (desk / path).is_file()


def test_the_action_compares_with_a_saved_baseline(desk: Path, replayable: Bundle, drifted: Bundle) -> None:
    gates = desk / "gates.toml"
    gates.write_text("[gates]\ncosine = 0.9999\nanswers_changed = 0\n")
    args = f"--gates {gates} --runs 1 --prompt-tokens 16 --new-tokens 2 --quiet"
    saved = run_action(
        desk, bundle=str(replayable.root), gate="compare", baseline=str(replayable.root),
        requirement="", args=f"{args} --save-baseline base.json",
    )  # fmt: skip
    assert saved.returncode == 0, saved.stdout + saved.stderr
    done = run_action(
        desk, bundle=str(drifted.root), gate="compare", baseline="base.json", requirement="",
        args=args,
    )  # fmt: skip
    assert done.returncode == 0, "logits that are 10 % larger have the same direction and the same answers"
    assert "is within all of its 2 budgets" in done.stdout


def test_the_examples_of_the_documentation_are_valid() -> None:
    blocks = re.findall(r"```(yaml|toml)\n(.*?)```", (ROOT / "docs" / "ci.md").read_text("utf-8"), flags=re.DOTALL)
    workflow, pipeline = (yaml.safe_load(text) for language, text in blocks if language == "yaml")
    for document, name in ((workflow, "vendor.github-workflows"), (pipeline, "vendor.gitlab-ci")):
        schema = get_builtin_schema(name)
        # A key `on` is true in YAML 1.1, which is what this reader speaks.
        document = {"on" if key is True else key: value for key, value in document.items()}
        jsonschema.validators.validator_for(schema)(schema).validate(document)
    inputs = yaml.safe_load(ACTION.read_text("utf-8"))["inputs"]
    (step,) = [step for step in workflow["jobs"]["gate"]["steps"] if "ci/github" in step.get("uses", "")]
    assert set(step["with"]) <= set(inputs)
    job = yaml.safe_load(TEMPLATE.read_text("utf-8"))[".nexus-edge"]
    assert set(pipeline["parity"]["variables"]) <= set(job["variables"])
    (budgets,) = [tomllib.loads(text)["gates"] for language, text in blocks if language == "toml"]
    assert set(budgets) == set(BUDGETS), "the page names every budget"
