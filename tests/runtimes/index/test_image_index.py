"""The index and its file: search, what others can read of it, and what is no index."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors

from nexus_edge.checkpoints import write_tensors
from nexus_edge.errors import InputError, OutputError
from nexus_edge.runtimes import ImageIndex
from nexus_edge.runtimes.dual_encoder.index import file, image_index
from nexus_edge.runtimes.dual_encoder.index.image_index import Stamp, from_index, relative_to_index

PATHS = ("a.png", "sub/b \u00df\U0001f9a0.jpg", "../c.dcm", "d\udcff.png")  # the last: bytes that are no UTF-8


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make(count: int = 4, dim: int = 3) -> ImageIndex:
    rows = unit(np.random.default_rng(0).standard_normal((count, dim)))
    paths = (PATHS + tuple(f"{number}.png" for number in range(count)))[:count]
    stamps = tuple(Stamp(number, 10**18 + number) for number in range(count))
    return ImageIndex(rows, paths, stamps, "f" * 64, "model", "real", "../out/bundle")


def same(one: ImageIndex, other: ImageIndex) -> bool:
    facts = [{**vars(index), "embeddings": None} for index in (one, other)]
    return facts[0] == facts[1] and np.array_equal(one.embeddings, other.embeddings)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_an_index_comes_back_as_it_was(dtype: type, tmp_path: Path) -> None:
    index = make()
    index = dataclasses.replace(index, embeddings=index.embeddings.astype(dtype))
    index.save(tmp_path / "i.safetensors")
    assert same(ImageIndex.load(tmp_path / "i.safetensors"), index)


def test_the_reference_library_opens_it(tmp_path: Path) -> None:
    index = make()
    index.save(tmp_path / "i.safetensors")
    with safetensors.safe_open(tmp_path / "i.safetensors", framework="numpy") as file:
        assert np.array_equal(file.get_tensor("embeddings"), index.embeddings)
        paths = file.get_tensor("paths").tobytes().decode("utf-8", "surrogatepass")
        assert paths.split("\0") == [*PATHS, ""]
        assert file.get_tensor("times").tolist() == [stamp.time for stamp in index.stamps]
        assert file.metadata()["image_tower"] == "f" * 64


@pytest.mark.parametrize("rows_at_once", [1, 7, 1000])
def test_the_nearest_are_those_of_a_plain_product(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_index, "ROWS", rows_at_once)
    index = make(50, 8)
    query = unit(np.random.default_rng(3).standard_normal((1, 8)))[0]
    scores = index.embeddings @ query
    order = sorted(range(50), key=lambda place: -scores[place])
    hits = index.nearest(query, 10)
    assert [hit.path for hit in hits] == [index.paths[place] for place in order[:10]]
    assert [hit.score for hit in hits] == pytest.approx([float(scores[place]) for place in order[:10]])
    assert len(index.nearest(query, 1000)) == 50


def test_of_equals_the_earlier_comes_first() -> None:
    index = dataclasses.replace(make(4, 2), embeddings=np.array([[0, 1], [1, 0], [1, 0], [0, 1]], np.float32))
    assert [hit.path for hit in index.nearest(np.array([1, 0], np.float32), 4)] == [PATHS[k] for k in (1, 2, 0, 3)]


def test_half_precision_changes_a_cosine_by_less_than_a_thousandth() -> None:
    index = make(200, 512)
    half = dataclasses.replace(index, embeddings=index.embeddings.astype(np.float16))
    query = index.embeddings[0]
    exact = {hit.path: hit.score for hit in index.nearest(query, 200)}
    assert all(abs(hit.score - exact[hit.path]) < 1e-3 for hit in half.nearest(query, 200))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": np.full((4, 3), np.nan, np.float32)}, "4 of 4 image embeddings are not finite"),
        ({"embeddings": np.ones((4, 3), np.float16)}, "not of length 1"),
        ({"embeddings": make().embeddings[:3]}, "do not fit each other"),
        ({"paths": PATHS[:3]}, "do not fit each other"),
        ({"embeddings": make().embeddings.astype(np.float64)}, r"embeddings is float64 \[4, 3\]"),
    ],
)
def test_what_no_tower_computed_is_refused(
    change: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = dataclasses.replace(make(), **change)
    with pytest.raises(InputError, match=r"embeddings (are|must be)|not of length 1|not finite"):
        changed.save(tmp_path / "i.safetensors")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(image_index, "require_rows", lambda *_: None)  # as somebody else's program would write it
    changed.save(tmp_path / "i.safetensors")
    with pytest.raises(InputError, match=message) as raised:
        ImageIndex.load(tmp_path / "i.safetensors")
    assert "i.safetensors" in str(raised.value)


def test_a_later_format_is_not_guessed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "FORMAT", "nexus-edge image index 3")
    make().save(tmp_path / "i.safetensors")
    monkeypatch.undo()
    with pytest.raises(InputError, match="format is 'nexus-edge image index 3', this nexus-edge reads"):
        ImageIndex.load(tmp_path / "i.safetensors")


def test_a_name_in_the_index_leads_back_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for image in ("a.png", "images/b.png", "../c.png", str(tmp_path / "d.png")):
        for index in (Path("i.safetensors"), Path("deep/er/i.safetensors"), tmp_path / "i.safetensors"):
            name = relative_to_index(Path(image), index)
            assert "\\" not in name
            assert from_index(name, index).absolute().resolve() == Path(image).absolute().resolve()
    assert relative_to_index(Path("images/b.png"), Path("images/i.safetensors")) == "b.png"


def test_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    index, path = make(), tmp_path / "i.safetensors"
    for _ in range(2):
        index.save(path)
    weights = {"w": np.zeros(3, np.float32)}
    write_tensors(tmp_path / "weights.safetensors", weights, {"made": '"format":"nexus-edge image index 2",'})
    before = (tmp_path / "weights.safetensors").read_bytes()
    with pytest.raises(OutputError, match=r"weights\.safetensors: is there already and not an index .*overwrite=True"):
        index.save(tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").read_bytes() == before
    index.save(tmp_path / "weights.safetensors", overwrite=True)
    assert same(ImageIndex.load(tmp_path / "weights.safetensors"), index)


def test_every_flipped_bit_is_found_or_changes_no_answer(tmp_path: Path) -> None:
    """The bundle's folder and the names for people are not under the checksum: none of them makes an answer."""
    index, path = make(), tmp_path / "i.safetensors"
    index.save(path)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        try:
            found = ImageIndex.load(path)
        except InputError as error:
            assert "i.safetensors: " in str(error)
        else:
            assert (found.paths, found.stamps) == (index.paths, index.stamps)
            assert np.array_equal(found.embeddings, index.embeddings)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (("a.png", "b.png", "a.png", "c.png"), "'a.png' is there twice"),
        (("a.png", "", "b.png", "c.png"), "'' is not the path of a file relative to the index"),
        (("a.png", "./b.png", "c.png", "d.png"), "'./b.png' is not the path of a file"),
        (("a.png", "b/../a.png", "c.png", "d.png"), "'b/../a.png' is not"),
        (("a.png", "..", "c.png", "d.png"), "'..' is not"),
        (("a.png", "b//c.png", "c.png", "d.png"), "'b//c.png' is not"),
        (("a.png", "b/", "c.png", "d.png"), "'b/' is not"),
        (("a.png", "/etc/passwd", "c.png", "d.png"), "'/etc/passwd' is not"),
        (("a.png", "b" * 256, "c.png", "d.png"), "is longer than a file's name can be"),
    ],
)
def test_paths_that_embed_does_not_write(paths: tuple[str, ...], message: str, tmp_path: Path) -> None:
    dataclasses.replace(make(), paths=paths).save(tmp_path / "i.safetensors")
    with pytest.raises(InputError, match=re.escape(message)) as raised:
        ImageIndex.load(tmp_path / "i.safetensors")
    assert "i.safetensors: its paths are not those of images: " in str(raised.value)
    assert "nexus-edge embed" in str(raised.value)


def test_an_index_without_images_is_refused(tmp_path: Path) -> None:
    empty = ImageIndex(np.zeros((0, 3), np.float32), (), (), "f" * 64, "model", "real", "../out/bundle")
    empty.save(tmp_path / "i.safetensors")
    with pytest.raises(InputError, match=r"i\.safetensors: .*it holds no images; make it again"):
        ImageIndex.load(tmp_path / "i.safetensors")
