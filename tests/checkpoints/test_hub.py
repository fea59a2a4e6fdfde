"""Downloads with the real huggingface_hub, from a small hub on this machine.

Each call runs in a process of its own, because huggingface_hub reads its environment when it is imported.
"""

import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import golden_biomedclip
import numpy as np
import pytest
import safetensors.numpy
import torch

from nexus_edge.checkpoints.hub import open_hub
from nexus_edge.errors import MissingExtraError

pytestmark = pytest.mark.slow

SHA = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "org/model"
SCRIPT = """
import json, sys
from nexus_edge.checkpoints.hub import open_hub
from nexus_edge.errors import NexusEdgeError
try:
    checkpoint = open_hub(sys.argv[1])
    files = sorted(path.name for path in checkpoint.folder.iterdir())
    print(json.dumps([checkpoint.name, checkpoint.revision, len(checkpoint.keys()), files]))
except NexusEdgeError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


class Hub(http.server.ThreadingHTTPServer):
    """The three kinds of request that a snapshot makes, answered from a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.drops = 0  # how many answers with the weights break off in the middle
        self.ranges: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        files = {path.name: path.read_bytes() for path in self.server.folder.iterdir()}
        headers, status, path = {}, 200, self.path.partition("?")[0]
        if path in (f"/api/models/{REPOSITORY}/revision/main", f"/api/models/{REPOSITORY}/revision/v1"):
            names = [{"rfilename": name} for name in files]
            body = json.dumps({"id": REPOSITORY, "sha": SHA, "siblings": names, "private": False}).encode()
        elif path == f"/api/models/{REPOSITORY}/tree/{SHA}":
            entries = [
                {"type": "file", "path": name, "size": len(it), "oid": f"{index:040x}"}
                for index, (name, it) in enumerate(files.items())
            ]
            body = json.dumps(entries).encode()
        elif path.startswith(f"/{REPOSITORY}/resolve/{SHA}/"):
            name = path.rpartition("/")[2]
            body = files[name]
            headers = {"X-Repo-Commit": SHA, "ETag": f'"{list(files).index(name):040x}"', "Accept-Ranges": "bytes"}
            if "Range" in self.headers and self.command == "GET":
                self.server.ranges.append(f"{name} {self.headers['Range']}")
                first = int(self.headers["Range"].removeprefix("bytes=").partition("-")[0])
                headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
                body, status = body[first:], 206
        else:
            body, status = b"{}", 404
            headers = {"X-Error-Code": "RevisionNotFound" if f"models/{REPOSITORY}/" in path else "RepoNotFound"}
        self.send_response(status)
        for header, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            if self.server.drops and path.endswith("model.safetensors"):
                self.server.drops -= 1
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            self.wfile.write(body)


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    (folder / "modeling_phi3_v.py").write_text("raise SystemExit('remote code must never run')")
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def download(spec: str, endpoint: str, cache: Path) -> list[object]:
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "PATH": ""}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, spec],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    result: list[object] = json.loads(run.stdout)
    return result


def address(server: Hub) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_snapshot_is_opened_pinned_to_its_commit_and_without_code(hub: Hub, tmp_path: Path) -> None:
    name, revision, tensors, files = download(REPOSITORY, address(hub), tmp_path / "cache")
    assert (name, revision, tensors) == (REPOSITORY, SHA, 3)
    assert files == ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]


def test_the_chat_template_is_fetched(hub: Hub, tmp_path: Path) -> None:
    (hub.folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    _, _, _, files = download(REPOSITORY, address(hub), tmp_path / "cache")
    assert isinstance(files, list) and "chat_template.jinja" in files


@pytest.fixture
def open_clip_hub(hub: Hub) -> Hub:
    """The files of BiomedCLIP's repository, and some that nobody needs."""
    for path in hub.folder.iterdir():
        path.unlink()
    config = json.loads((golden_biomedclip.FOLDER / "open_clip_config.json").read_text())
    bert = json.loads((golden_biomedclip.FOLDER / "text_config" / "config.json").read_text())
    (hub.folder / "open_clip_config.json").write_text(json.dumps(config | {"text_config": bert}))
    shutil.copy(golden_biomedclip.FOLDER / "tokenizer" / "tokenizer.json", hub.folder)
    (hub.folder / "vocab.txt").write_text("[PAD]")
    torch.save({"logit_scale": torch.ones(())}, hub.folder / "open_clip_pytorch_model.bin")
    (hub.folder / "README.md").write_text("---\nlicense: mit\n---\n")  # for the licence
    for name in ("pytorch_model.bin", "example.ipynb", "modeling.py"):
        (hub.folder / name).write_text("never fetched")
    return hub


def test_pickled_weights_are_fetched_where_there_are_no_others(open_clip_hub: Hub, tmp_path: Path) -> None:
    expected = ["README.md", "open_clip_config.json", "open_clip_pytorch_model.bin", "tokenizer.json", "vocab.txt"]
    for address_ in (address(open_clip_hub), "http://127.0.0.1:1"):  # the second time from the cache
        name, revision, tensors, files = download(REPOSITORY, address_, tmp_path / "cache")
        assert (name, revision, tensors) == (REPOSITORY, SHA, 1)
        assert files == expected


def test_pickled_weights_beside_safetensors_are_not_fetched(open_clip_hub: Hub, tmp_path: Path) -> None:
    safetensors.numpy.save_file({"logit_scale": np.ones((), np.float32)}, open_clip_hub.folder / "model.safetensors")
    files = download(REPOSITORY, address(open_clip_hub), tmp_path / "cache")[3]
    assert files == ["README.md", "model.safetensors", "open_clip_config.json", "tokenizer.json", "vocab.txt"]


def test_a_named_revision_is_resolved_to_its_commit(hub: Hub, tmp_path: Path) -> None:
    assert download(f"{REPOSITORY}@v1", address(hub), tmp_path / "cache")[:2] == [REPOSITORY, SHA]
    kind, message = download(f"{REPOSITORY}@v2", address(hub), tmp_path / "cache")
    assert kind == "CheckpointError" and "org/model: has no revision 'v2'" in str(message)


def test_a_dropped_connection_is_resumed_where_it_broke(hub: Hub, tmp_path: Path) -> None:
    hub.drops = 1
    # The client stores pieces of 10 MB; half of this file is more than one.
    safetensors.numpy.save_file({"w": np.zeros(30_000_000, np.uint8)}, hub.folder / "model.safetensors")
    assert download(REPOSITORY, address(hub), tmp_path / "cache")[2] == 1
    (again,) = hub.ranges
    assert int(again.removeprefix("model.safetensors bytes=").rstrip("-")) >= 10_000_000


def test_a_connection_that_keeps_breaking_is_one_line(hub: Hub, tmp_path: Path) -> None:
    hub.drops = 100
    kind, message = download(REPOSITORY, address(hub), tmp_path / "cache")
    assert kind == "CheckpointError" and str(message).startswith(f"{REPOSITORY}: download failed")
    assert "--checkpoint DIR" in str(message) and "\n" not in str(message)


def test_without_a_network_the_cache_is_used(hub: Hub, tmp_path: Path) -> None:
    download(REPOSITORY, address(hub), tmp_path / "cache")
    assert download(REPOSITORY, "http://127.0.0.1:1", tmp_path / "cache")[1] == SHA


def test_without_a_network_and_a_cache_the_message_says_what_else_works(tmp_path: Path) -> None:
    kind, message = download(REPOSITORY, "http://127.0.0.1:1", tmp_path / "cache")
    assert kind == "CheckpointError"
    assert str(message).startswith(REPOSITORY)
    assert "--checkpoint DIR" in str(message) and "--checkpoint tiny" in str(message) and "\n" not in str(message)


def test_an_unknown_repository_is_named(hub: Hub, tmp_path: Path) -> None:
    kind, message = download("org/absent", address(hub), tmp_path / "cache")
    assert kind == "CheckpointError" and "org/absent: no such repository" in str(message)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'nexus-edge\[export\]'"):
        open_hub(REPOSITORY)
