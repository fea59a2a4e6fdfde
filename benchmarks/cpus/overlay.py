"""Copies of openvino and onnxruntime that ask `cpuid.c` instead of the CPU.

Their CPUID instructions become UD2, which is as long and raises SIGILL; where those are, says a disassembly. Needs gcc,
objdump and a CPU of x86-64. What the packages link to beside their own libraries is left alone.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("openvino", "onnxruntime")
ASKING = ("libopenvino.so*", "libopenvino_intel_cpu_plugin.so", "onnxruntime_pybind11_state*.so")
"""The libraries that choose kernels."""

CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"
_LOADED = 1  # a program header's type PT_LOAD


def make(folder: Path) -> Path:
    """Write the copies and cpuid.so into `folder`, unless they are there; returns cpuid.so."""
    library = folder / "cpuid.so"
    if not library.is_file():
        for package in PACKAGES:
            _copy(_root(package), folder / package)
        for pattern in ASKING:
            for path in sorted(folder.rglob(pattern)):
                _patch(path)
        source = Path(__file__).with_name("cpuid.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source)], check=True)
    return library


def _root(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is not installed"
    return Path(spec.origin).parent


def _copy(source: Path, target: Path) -> None:
    """By hard links where the file system allows it; the patched files get contents of their own."""
    shutil.rmtree(target, ignore_errors=True)

    def link(path: str, there: str) -> None:
        try:
            os.link(path, there)
        except OSError:
            shutil.copyfile(path, there)

    shutil.copytree(source, target, copy_function=link, ignore=shutil.ignore_patterns("__pycache__"))


def _patch(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for address in _addresses(path):
        offset = _offset(data, address)
        assert data[offset : offset + 2] == CPUID, f"{path}: no CPUID at {address:#x}"
        data[offset : offset + 2] = UD2
    path.unlink()  # a hard link: the installed file keeps what it has
    path.write_bytes(data)


def _addresses(path: Path) -> Iterator[int]:
    """Of the CPUID instructions; the bytes alone may be part of another one."""
    command = ["objdump", "-d", "--no-show-raw-insn", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.rstrip().endswith("\tcpuid"):
                yield int(line.partition(":")[0], 16)


def _offset(elf: bytes | bytearray, address: int) -> int:
    """Where in a 64-bit ELF file an address is (System V ABI, program headers)."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for index in range(count):
        kind, _, offset, start, _, length = struct.unpack_from("<IIQQQQ", elf, table + index * size)
        if kind == _LOADED and start <= address < start + length:
            return int(offset + address - start)
    raise AssertionError(f"{address:#x} is in no segment")
