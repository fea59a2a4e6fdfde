"""Does the ladder hold on CPUs with fewer features? Runs it as on each of them, and prints a table in Markdown.

    python benchmarks/feature_sets.py /tmp/cpus                                   # both families, every set of features
    python benchmarks/feature_sets.py /tmp/cpus --family biomedclip --cpu avx2 --cpu vnni

`this` is the CPU as it is. `avx2`, `avx512` (without VNNI), `vnni` (without bfloat16) and `bf16` (without AMX) hide
what it has beyond them from ONNX Runtime and OpenVINO, which then run their kernels for such a CPU at full speed
(cpus/overlay.py; needs gcc, objdump and x86-64). `dnnl-vnni` is oneDNN's own switch
ONEDNN_MAX_CPU_ISA: PyTorch heeds it, and so do OpenVINO's oneDNN kernels, but not the ones that the plugin generates
itself.

One bundle of each family is exported on the CPU as it is. On each of the others its runtimes are judged anew
(`nexus-edge parity`: P2, P3 and P5, the rungs that run them), and its goldens replayed as on a device (`nexus-edge
verify`). The folder keeps what was found: the same command goes on where it stopped.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from cpus import overlay

from nexus_edge.parity.report.report import Report, from_json, utilisation
from nexus_edge.runtimes.machine import machine

RECIPES = {"phi3-vision": "int4", "biomedclip": "int8"}
TARGETS = ("onnx", "openvino")  # Core ML is judged in numpy, which computes alike everywhere
HIDING = ("avx2", "avx512", "vnni", "bf16")
SWITCHES = {"dnnl-vnni": "AVX512_CORE_VNNI"}  # with AVX2 OpenVINO goes on to ask oneDNN for bfloat16, and fails
CPUS = ("this", *HIDING, *SWITCHES)
RUNGS = ("P2", "P3", "P5")
"""Those whose values depend on the CPU's kernels."""

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Row:
    """One target of one ladder, or of one replay, on one CPU.

    `rungs` are verdicts; `share` is the largest share of a tolerance that one of them uses, at `gate`.
    """

    cpu: str
    family: str
    command: str
    target: str
    rungs: dict[str, str]
    share: float
    gate: str
    cpu_s: float


def environment(cpu: str, work: Path) -> dict[str, str]:
    """What a process needs to see this CPU."""
    paths = [str(ROOT)]
    chosen = {"OMP_NUM_THREADS": "1"}
    if cpu in SWITCHES:
        chosen["ONEDNN_MAX_CPU_ISA"] = SWITCHES[cpu]
    elif cpu != "this":
        chosen |= {"NEXUS_EDGE_CPU": cpu, "LD_PRELOAD": str(overlay.make(work / "overlay"))}
        paths.insert(0, str(work / "overlay"))
    return {**os.environ, **chosen, "PYTHONPATH": os.pathsep.join(paths)}


def run(arguments: Sequence[object], cpu: str, work: Path) -> tuple[str, float]:
    """A command of nexus-edge on this CPU: its stdout and CPU seconds. Exit code 3 is a verdict, not an error."""
    command = [sys.executable, "-m", "nexus_edge", *map(str, arguments), "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=environment(cpu, work), stdout=subprocess.PIPE, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{cpu}: {' '.join(command)} ended with {done.returncode}: {done.stdout[-500:]}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def judged(report: Report, cpu: str, family: str, command: str, cpu_s: float) -> Iterator[Row]:
    """A row for each target."""
    for target in TARGETS:
        gated = [
            (utilisation(check), f"{rung.name} {check.finding}")
            for rung in report.rungs
            for check in rung.checks
            if check.target == target and check.gate is not None
        ]
        rungs = {rung.name: rung.status_of(target) for rung in report.rungs}
        yield Row(cpu, family, command, target, rungs, *max(gated), round(cpu_s, 1))


def judge(cpu: str, family: str, work: Path) -> Iterator[Row]:
    """The rungs and the replay on this CPU."""
    bundle = work / f"{family}-{RECIPES[family]}"
    if not bundle.is_dir():
        targets = [word for target in TARGETS for word in ("--target", target)]
        run(["export", family, f"--{RECIPES[family]}", "--checkpoint", "tiny", *targets, "--out", bundle], "this", work)
    for command, arguments in (("parity", ["--rungs", ",".join(RUNGS)]), ("verify", [])):
        text, cpu_s = run([command, bundle, *arguments], cpu, work)
        yield from judged(from_json(text), cpu, family, command, cpu_s)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown."""
    yield "| CPU | family | command | target | verdicts | largest share of a limit | at | CPU s |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        odd = [f"{name} {status}" for name, status in row.rungs.items() if status != "passed"]
        verdicts = "; ".join([*odd, "all others passed" if odd and len(odd) < len(row.rungs) else ""]).strip("; ")
        yield (
            f"| {row.cpu} | {row.family} | {row.command} | {row.target} | {verdicts or 'passed'} | "
            f"{row.share:.2f} | {row.gate} | {row.cpu_s:.0f} |"
        )


def main(
    folder: Annotated[Path, typer.Argument(help="Bundles, copies of the runtimes, and what was found.")],
    family: Annotated[list[str] | None, typer.Option(help="; ".join(RECIPES))] = None,
    cpu: Annotated[list[str] | None, typer.Option(help="; ".join(CPUS))] = None,
) -> None:
    """Print a table; exit code 3 if a rung failed."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "rows.jsonl"
    rows = [Row(**json.loads(line)) for line in kept.read_text("utf-8").splitlines()] if kept.is_file() else []
    for name in family or RECIPES:
        for chosen in cpu or CPUS:
            if any((row.cpu, row.family) == (chosen, name) for row in rows):
                continue
            found = list(judge(chosen, name, folder))
            rows += found
            with kept.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(row)) + "\n" for row in found)
    print(f"{machine()}\n")
    print("\n".join(table(rows)))
    if any("failed" in row.rungs.values() or "not run" in row.rungs.values() for row in rows):
        raise typer.Exit(3)


if __name__ == "__main__":
    typer.run(main)
