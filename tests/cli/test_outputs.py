"""What an option writes replaces neither what the call reads nor what somebody else made; a rerun works."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from nexus_edge._outputs import require_apart, require_own
from nexus_edge.bundle import Bundle
from nexus_edge.ci.marks import KINDS
from nexus_edge.errors import OutputError
from nexus_edge.parity import ladder
from nexus_edge.runtimes.dual_encoder.index.sheet import SHEET
from nexus_edge.runtimes.dual_encoder.label_bank import LabelBank
from nexus_edge.runtimes.dual_encoder.ship import ship_image_tower

Run = Callable[..., Any]


@pytest.fixture
def index(run_command: Run, desk: Path) -> Path:
    assert run_command("embed", "images", "-o", "index.safetensors", "--quiet").exit_code == 0
    return desk / "index.safetensors"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("search", "red", "--index", "index.safetensors", "--sheet", "images/red.png"), "images/red.png: is what"),
        (("search", "red", "--index", "index.safetensors", "--sheet", "linked.png"), "linked.png: is what this call"),
        (("search", "red", "--index", "index.safetensors", "--sheet", "index.safetensors"), "a PNG sheet ends in .png"),
        (("search", "red", "--index", "index.safetensors", "--sheet", "out/toy-dual/manifest.json"), "ends in .png"),
        (("search", "red", "--index", "index.safetensors", "--sheet", "out/toy-dual/new.png"), "lies in out/toy-dual"),
        (
            ("search", "red", "--index", "index.safetensors", "--sheet", "other.png"),
            "not a PNG sheet that nexus",
        ),
        (("embed", "images", "-o", "out/toy-dual/onnx/image_encoder.safetensors", "--force"), "lies in out/toy-dual"),
        (("embed", "images", "-o", "images/red.png", "--force"), "an index ends in .safetensors; give -o"),
        (("embed", "images", "-o", "foreign.safetensors", "--force"), "not an index that nexus-edge wrote"),
        (("bank", "--labels", "a", "-o", "out/toy-dual/manifest.json", "--force"), "a label bank ends in .bank"),
        (("bank", "--labels", "a", "-o", "out/toy-dual/onnx/a.bank", "--force"), "lies in out/toy-dual"),
        (("bank", "--labels-file", "labels", "-o", "labels", "--force"), "labels: is what this call reads"),
        (("bank", "--labels", "a", "-o", "foreign.bank", "--force"), "is there already"),
        (("bank", "--labels", "a", "--ship", "out/toy-dual", "--force"), "out/toy-dual: is what this call reads"),
        (("bank", "--labels", "a", "--ship", "out/toy-dual/device"), "lies in out/toy-dual"),
        (("bank", "--labels", "a", "--ship", "out", "--force"), "out: is not a bundle"),
        (
            ("verify", "out/toy-dual", "--junit", "out/toy-dual/manifest.json"),
            "without an ending; give --junit",
        ),
        (("verify", "out/toy-dual", "--junit", "out/toy-dual/junit.xml"), "lies in out/toy-dual"),
        (("verify", "out/toy-dual", "--html", "other.html"), "not HTML that nexus-edge wrote, so --html"),
        (
            ("verify", "out/toy-dual", "--format", "sarif=pyproject.json"),
            "not SARIF that nexus-edge",
        ),
        (("parity", "out/toy-dual", "--tolerances", "own.txt", "--markdown", "own.txt"), "own.txt: is what this call"),
        (("compare", "out/toy-dual", "--baseline", "b.json", "--save-baseline", "b.json"), "b.json: is what this call"),
        (("compare", "out/toy-dual", "out/toy-dual", "--save-baseline", "pyproject.json"), "not a baseline"),
    ],
)
def test_what_a_call_may_not_replace(
    command: tuple[str, ...], words: str, run_command: Run, desk: Path, index: Path
) -> None:
    Image.new("RGB", (4, 4)).save("other.png")
    os.link("images/red.png", "linked.png")
    for name in ("foreign.safetensors", "foreign.bank", "labels", "own.txt", "b.json", "pyproject.json", "other.html"):
        (desk / name).write_text("of somebody else")
    before = contents(desk)
    run_command(*command, *(() if command[0] == "verify" else ("--quiet",))).assert_error(2, words)
    assert contents(desk) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--junit", "no/where/junit.xml"), "no/where/junit.xml: there is no folder"),
        (("--html", "folder.html"), "folder.html: cannot be written: it is a folder; name a file"),
        (("--format", "sarif=labels/a.sarif"), "labels is a file, not a folder; correct the path"),
        (("--format", "json", "--output", "no/where/a.json"), "no/where/a.json: there is no folder"),
        (("--format", "github"), "summary.md: lies in absent, what this call reads, so GITHUB_STEP_SUMMARY does not"),
    ],
)
@pytest.mark.parametrize("command", ["parity", "verify"])
def test_a_place_is_seen_before_the_bundle_is_opened(
    command: str, arguments: tuple[str, ...], words: str, run_command: Run, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle is none, which would be said first if it had been opened."""
    for name in ("folder.html", "absent"):
        (desk / name).mkdir()
    (desk / "labels").write_text("red")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(desk / "absent" / "summary.md"))
    before = contents(desk)
    run_command(command, "absent", *arguments).assert_error(2, words)
    assert contents(desk) == before


@pytest.mark.parametrize(
    "command",
    [
        ("search", "red", "--index", "absent", "--sheet", "PLACE.png"),
        ("bank", "out/none", "--labels", "red", "-o", "PLACE.bank"),
        ("bank", "out/none", "--labels", "red", "--ship", "PLACE"),
        ("embed", "absent", "-o", "PLACE.safetensors"),
    ],
)
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("labels/deep", "labels is a file"),
        ("locked/deep", "cannot be written: no permission in"),
        ("full/deep", "cannot be written: the disk of"),
    ],
)
def test_a_place_is_seen_before_the_work(
    command: tuple[str, ...], place: str, words: str, run_command: Run, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read is not there, which would be said first if it had been looked for."""
    (desk / "labels").write_text("red")
    for name in ("locked", "full"):
        (desk / name).mkdir()
    allowed, disk = os.access, os.statvfs
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and allowed(path, mode))

    def full(path: Any) -> Any:
        found = disk(path)
        empty = SimpleNamespace(f_blocks=found.f_blocks, f_bfree=0, f_bavail=0)
        return empty if "full" in str(path) else found

    monkeypatch.setattr(os, "statvfs", full)
    before = contents(desk)
    if "--ship" in command and "full" in place:
        pytest.skip("a bundle's size is not known before")
    run_command(*(word.replace("PLACE", place) for word in command), "--quiet").assert_error(2, words)
    assert contents(desk) == before


FOREIGN = {
    "a.md": "# Parity of two servers: a report\n\nThey are alike.\n",
    "b.md": "# Ours against its baseline: passed\n\nIt held.\n",
    "a.html": "<!doctype html>\n<html><head><title>Parity of men and women</title></head></html>\n",
    "a.xml": '<?xml version="1.0"?>\n<testsuites name="compare of A and B" tests="1"><testsuite/></testsuites>\n',
    "court.json": '{"verdict": "guilty", "sentence": "two years"}\n',
    "form.json": '{"format_version": 2, "summary": "of mine"}\n',
    "list.json": '[{"description": "compare of notes"}]\n',
    "tool.sarif": '{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "other"}}, "of": "nexus-edge"}]}\n',
    "log.txt": "::error file=a.py,line=1::compare failed\n::notice title=parity of nothing::\n",
    "notes.txt": "::notice ::of mine\n",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_no_accident_makes_a_file_ours(name: str, desk: Path) -> None:
    (desk / name).write_text(FOREIGN[name])
    for kind in KINDS.values():
        with pytest.raises(OutputError, match="that nexus-edge wrote"):
            require_own("--out", desk / name, kind)


def test_no_other_image_is_a_sheet(desk: Path) -> None:
    facts = PngInfo()
    facts.add_text("Comment", "as Software\0nexus-edge search makes them")
    Image.new("RGB", (4, 4)).save(desk / "mine.png", pnginfo=facts)
    with pytest.raises(OutputError, match="not a PNG sheet that nexus-edge wrote"):
        require_own("--sheet", desk / "mine.png", SHEET)


def test_force_replaces_no_web_app(run_command: Run, desk: Path) -> None:
    (desk / "app").mkdir()
    (desk / "app" / "manifest.json").write_text('{"name": "app", "start_url": "."}')
    before = contents(desk)
    done = run_command("bank", "--labels", "red,blue", "--ship", "app", "--force", "--quiet")
    done.assert_error(2, "app: is not a bundle, --force does not replace it")
    assert contents(desk) == before


def test_a_report_is_not_written_into_the_checkpoint(run_command: Run, desk: Path) -> None:
    (desk / "original").mkdir()
    (desk / "original" / "config.json").write_text("{}")
    for name, option in (("README.md", "--markdown"), ("LICENSE", "--junit"), ("vocab.txt", "--markdown")):
        call = ("parity", "absent", "--checkpoint", "original", option, f"original/{name}")
        if name != "vocab.txt":
            run_command(*call).assert_error(2, f"original/{name}: is what this call reads, so {option}")
        else:  # which this layout does not read
            run_command(*call).assert_error(2, "absent: is not a bundle")
    call = ("parity", "absent", "--checkpoint", "original", "--format", "json=original/config.json")
    run_command(*call).assert_error(2, "original/config.json: is what this call reads, so --format")
    for name in ("synthetic", "some/model"):  # no folders: what is wrong then is the bundle
        run_command("parity", "absent", "--checkpoint", name, "--markdown", "a.md").assert_error(2, "absent")


def test_reports_may_lie_beside_the_files_of_the_checkpoint(
    run_command: Run, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--checkpoint .`, as where somebody works in the folder of the model."""
    (desk / "config.json").write_text("{}")
    (desk / "adapter_config.json").write_text("{}")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(desk / "summary.md"))
    files = ("--junit", "junit.xml", "--html", "reports/parity.html", "--format", "github")
    for options in (("--checkpoint", "."), ("--checkpoint", str(desk)), ("--adapter", ".")):
        done = run_command("parity", "absent", *options, *files)
        assert done.exit_code == 2 and "absent: is not a bundle" in done.stderr
        assert (desk / "junit.xml").is_file() and done.stdout.startswith("::error ")
    call = ("parity", "absent", "--adapter", ".", "--format", "json=adapter_config.json")
    run_command(*call).assert_error(2, "adapter_config.json: is what this call reads, so --format")


def test_the_checkpoint_that_a_bundle_names_is_read_too(
    run_command: Run, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the ladder runs before that is seen."""
    golden = Path(__file__).parents[1] / "golden" / "biomedclip_tiny"
    original = SimpleNamespace(folder=golden, adapter=None, weight_files=(desk / "weights",))
    monkeypatch.setattr(ladder, "prepare", lambda *given, **options: SimpleNamespace(checkpoint=original))
    monkeypatch.setattr(ladder, "run", lambda *given: pytest.fail("the ladder ran"))
    call = ("parity", "out/toy-dual", "--junit", "weights", "--quiet")
    run_command(*call).assert_error(2, "weights: is what this call reads, so --junit")
    call = ("parity", "out/toy-dual", "--junit", golden / "LICENSE", "--quiet")
    run_command(*call).assert_error(2, "LICENSE: is what this call reads, so --junit")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda partial: partial.symlink_to("images/red.png"), "new.safetensors.partial: is a link"),
        (lambda partial: partial.hardlink_to("images/red.png"), "new.safetensors.partial: has another name too"),
        (lambda partial: partial.write_text("half a download"), "is there already and no journal of nexus-edge"),
    ],
)
def test_a_journal_takes_the_place_of_nothing(
    make: Callable[[Path], object], words: str, run_command: Run, desk: Path
) -> None:
    make(desk / "new.safetensors.partial")
    before = contents(desk)
    run_command("embed", "images", "-o", "new.safetensors", "--force", "--quiet").assert_error(2, words)
    assert contents(desk) == before


def test_reports_and_sheets_are_written_again(run_command: Run, desk: Path, index: Path) -> None:
    for _ in range(2):
        done = run_command("search", "red", "--index", "index.safetensors", "--sheet", "hits.png", "--quiet")
        assert done.exit_code == 0, done.stderr
        done = run_command("search", "red", "--index", "index.safetensors", "--sheet", os.devnull, "--quiet")
        assert done.exit_code == 0, done.stderr
    with Image.open("hits.png") as sheet:
        assert sheet.text["Software"] == "nexus-edge search"  # type: ignore[attr-defined]


def test_a_bank_of_ours_is_replaced_by_force(run_command: Run, desk: Path) -> None:
    for labels in ("red,blue", "green"):
        assert run_command("bank", "--labels", labels, "-o", "my.bank", "--force", "--quiet").exit_code == 0
    assert LabelBank.load(desk / "my.bank").labels == ("green",)
    with pytest.raises(OutputError, match="is what this call reads"):
        ship_image_tower(Bundle.open("out/toy-dual"), LabelBank.load("my.bank"), Path("out/toy-dual"), force=True)


def test_a_folder_above_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "old" / "checkpoint").mkdir(parents=True)
    (tmp_path / "old" / "checkpoint" / "config.json").write_text("{}")
    reads = [tmp_path / "old" / "checkpoint" / "config.json", tmp_path / "absent"]
    with pytest.raises(OutputError, match=r"old: holds .*config\.json, what this call reads, so --out"):
        require_apart("--out", tmp_path / "old", reads)
    require_apart("--out", tmp_path / "old" / "checkpoint" / "out" / "mine", reads)
