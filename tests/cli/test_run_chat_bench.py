"""run, chat and bench on the toy bundle: what goes to stdout, to stderr, and which exit code comes back."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nexus_edge.runtimes import EngineOptions, load

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "red.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return path


def answer_to(toy_path: Path, prompt: str, images: list[Path], tokens: int, raw: bool = False) -> str:
    model = load(toy_path, EngineOptions(threads=1))
    return "".join(model.generate(prompt, images, max_new_tokens=tokens, raw=raw))


def test_run_prints_the_answer_and_says_the_rest_on_stderr(run_command: Run, toy_path: Path, image: Path) -> None:
    result = run_command("run", toy_path, "--image", image, "--prompt", "What?", "--max-new-tokens", 12)
    assert result.exit_code == 0
    assert result.stdout == answer_to(toy_path, "What?", [image], 12) + "\n"
    assert "the weights are synthetic" in result.stderr
    assert "313 of images" in result.stderr


def test_quiet_leaves_only_the_answer(run_command: Run, toy_path: Path) -> None:
    result = run_command("run", toy_path, "-p", "Hi", "--max-new-tokens", 5, "--quiet")
    assert result.stdout == answer_to(toy_path, "Hi", [], 5) + "\n"
    assert result.stderr == ""


def test_run_as_json(run_command: Run, toy_path: Path, image: Path) -> None:
    result = run_command("run", toy_path, "-i", image, "-i", image, "-p", "Hi", "--max-new-tokens", 5, "--json")
    said = json.loads(result.stdout)
    assert said["answer"] == answer_to(toy_path, "Hi", [image, image], 5)
    assert said["weights"] == "synthetic"
    assert said["run"]["image_tokens"] == 626
    assert said["run"]["finish"] == "length"


def test_options_reach_the_sampler(run_command: Run, toy_path: Path) -> None:
    def drawn(*options: object) -> str:
        result = run_command("run", toy_path, "-p", "Hi", "--max-new-tokens", 20, "--quiet", *options)
        assert result.exit_code == 0
        return str(result.stdout)

    seeded = ("--temperature", 1.5, "--seed", 4)
    assert drawn(*seeded) == drawn(*seeded)
    assert drawn(*seeded) != drawn("--temperature", 1.5, "--seed", 5)
    assert drawn(*seeded, "--top-p", 0.01) == drawn(), "a small nucleus is greedy"
    assert drawn("--stop", drawn()[3]) == drawn()[: drawn().index(drawn()[3])] + "\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--raw", "-p", "<|user|>\n<|image_1|>"), "tags for 1 image"),
        (("-p", "<|user|>\n<|image_1|>"), "--raw"),
        (("-p", "Hi", "-i", "none.png"), "none.png"),
        (("-p", "Hi", "--top-p", 3), "top_p is 3.0"),
        (("-p", "x" * 2000), "the model's context"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    run_command: Run, toy_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    result = run_command("run", toy_path, "--quiet", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_bundle(run_command: Run, tmp_path: Path) -> None:
    result = run_command("run", tmp_path / "none", "-p", "Hi")
    assert result.exit_code == 2
    assert "is not a bundle" in result.stderr


def test_a_changed_weights_file_is_found_when_the_bundle_is_opened(
    run_command: Run, toy_path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "toy"
    for source in toy_path.rglob("*"):
        if source.is_file():
            target = copy / source.relative_to(toy_path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes()[:-1] if source.name == "decoder.data" else source.read_bytes())
    result = run_command("run", copy, "-p", "Hi")
    assert result.exit_code == 2
    assert "decoder.data" in result.stderr


def test_chat_from_a_pipe(run_command: Run, toy_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = f"Hi\n\n/image {image}\nWhat?\n/reset\nHi\n/quit\nnever\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    result = run_command("chat", toy_path, "--max-new-tokens", 6, "--quiet")
    assert result.exit_code == 0
    answers = result.stdout.splitlines()
    assert len(answers) == 3
    assert answers[0] == answers[2] == answer_to(toy_path, "Hi", [], 6)
    conversation = f"<|user|>\nHi<|end|>\n<|assistant|>\n{answers[0]}<|end|>\n<|user|>\n<|image_1|>\nWhat?<|end|>\n"
    assert answers[1] == answer_to(toy_path, conversation + "<|assistant|>\n", [image], 6, raw=True)


def test_a_wrong_chat_command_ends_a_pipe_with_exit_code_2(
    run_command: Run, toy_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("/photo x\nHi\n"))
    result = run_command("chat", toy_path, "--quiet")
    assert result.exit_code == 2
    assert "/photo: no such command" in result.stderr
    assert result.stdout == ""


def test_bench_as_json(run_command: Run, toy_path: Path, image: Path) -> None:
    arguments = ("--image", image, "--prompt-tokens", 400, "--new-tokens", 6, "--runs", 2, "--json")
    result = run_command("bench", toy_path, *arguments)
    said = json.loads(result.stdout)
    assert (said["prompt_tokens"], said["new_tokens"], said["pictures"]) == (400, 6, 1)
    assert said["weights"] == "synthetic"
    assert len(said["each_run"]["decode_tokens_per_s"]) == 2
    for name in ("load_s", "vision_s", "first_token_s", "prefill_tokens_per_s", "decode_tokens_per_s"):
        assert said[name] > 0
    assert said["first_token_s"] >= said["vision_s"]
    # numpy and ONNX Runtime alone take tens of megabytes; a wrong unit would be off by 1024.
    assert 30e6 < said["peak_rss_bytes"] < 30e9


def test_bench_prints_a_table(run_command: Run, toy_path: Path) -> None:
    result = run_command("bench", toy_path, "--runs", 1, "--new-tokens", 4)
    assert result.exit_code == 0
    for row in ("load", "vision encoder", "512 prompt tokens", "prefill", "decode", "peak memory", "synthetic weights"):
        assert row in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--runs", 0), "runs is 0"),
        (("--new-tokens", 1), "at least 2"),
        (("--prompt-tokens", 880, "--new-tokens", 30), "exceed the model's context of 900"),
    ],
)
def test_bench_refuses_what_it_cannot_measure(
    run_command: Run, toy_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    result = run_command("bench", toy_path, "--quiet", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_bench_needs_room_for_its_images(run_command: Run, toy_path: Path, image: Path) -> None:
    result = run_command("bench", toy_path, "--image", image, "--prompt-tokens", 200)
    assert result.exit_code == 2
    assert "ask for a prompt of more" in result.stderr


def test_filters_and_log_probabilities(run_command: Run, toy_path: Path) -> None:
    def drawn(*options: object) -> str:
        arguments = ("--temperature", 1.5, "--seed", 4, "--max-new-tokens", 20, *options)
        result = run_command("run", toy_path, "-p", "Hi", "--quiet", *arguments)
        assert result.exit_code == 0
        return str(result.stdout)

    greedy = answer_to(toy_path, "Hi", [], 20) + "\n"
    assert drawn("--top-k", 1) == drawn("--min-p", 1) == greedy != drawn()
    assert drawn("--repetition-penalty", 1.8) != drawn()
    result = run_command("run", toy_path, "-p", "Hi", "--max-new-tokens", 3, "--json", "--logprobs", 2)
    said = json.loads(result.stdout)
    assert [len(token["top"]) for token in said["logprobs"]] == [2, 2, 2]
    assert "".join(token["text"] for token in said["logprobs"]) == said["answer"]
    for options, message in ((("--logprobs", 2), "give both"), (("--top-k", -1), "top_k is -1")):
        result = run_command("run", toy_path, "-p", "Hi", "--quiet", *options)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert message in result.stderr


def test_chat_takes_the_filters(run_command: Run, toy_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n"))
    options = ("--temperature", 1.5, "--top-k", 1, "--max-new-tokens", 6, "--quiet")
    assert run_command("chat", toy_path, *options).stdout == answer_to(toy_path, "Hi", [], 6) + "\n"
