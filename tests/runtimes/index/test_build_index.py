"""Making and updating an index: what is embedded, what is reused, and what an interrupted run leaves."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import toy_dual

from nexus_edge.bundle import Bundle
from nexus_edge.errors import InputError, OutputError
from nexus_edge.runtimes import DualEncoder, ImageIndex, build_index, load_dual_encoder

NOISE = 1e-6  # a few roundings of float32 in sums of a dozen numbers below 1


class Counting:
    """An engine that counts images, and stops at one of them as Ctrl-C would."""

    def __init__(self, model: DualEncoder, stop_at: int | None = None) -> None:
        self.original = model.engine
        self.images = 0
        self.stop_at = stop_at

    def encode_images(self, pixels: np.ndarray) -> np.ndarray:
        if self.stop_at is not None and self.images + len(pixels) > self.stop_at:
            raise KeyboardInterrupt
        self.images += len(pixels)
        return self.original.encode_images(pixels)

    def encode_texts(self, ids: np.ndarray) -> np.ndarray:
        raise NotImplementedError


@pytest.fixture
def model(dual_bundle: Bundle) -> DualEncoder:
    return load_dual_encoder(dual_bundle)


@pytest.fixture
def counting(model: DualEncoder) -> Callable[..., Counting]:
    """() -> the model's engine from now on."""

    def start(stop_at: int | None = None) -> Counting:
        engine = Counting(model, stop_at)
        if isinstance(model.engine, Counting):
            engine.original = model.engine.original
        model.engine = engine
        return engine

    return start


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    names = [f"p/{colour}.{number}.png" for number in range(3) for colour in ("red", "green", "blue")]
    return toy_dual.write_images(tmp_path, *names)


def expected(model: DualEncoder, paths: list[Path]) -> np.ndarray:
    return toy_dual.image_embedding(model.processor.images(paths))


def test_an_index_holds_each_image_under_its_name(model: DualEncoder, images: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "made" / "i.safetensors"
    built = build_index(model, images, out, batch_size=4)
    assert (built.embedded, built.unchanged, built.kept, built.gone, built.skipped) == (9, 0, 0, 0, ())
    index = ImageIndex.load(out)
    assert index.paths == tuple(f"../p/{path.name}" for path in images)
    assert np.allclose(index.embeddings, expected(model, images), atol=NOISE)
    assert index.stamps[0].size == images[0].stat().st_size
    assert (index.image_tower, index.model, index.weights) == (model.info.image_tower, "toy-dual", "synthetic")
    assert (out.parent / index.bundle).resolve() == model.root.resolve()
    assert [path.name for path in out.parent.iterdir()] == ["i.safetensors"], "the journal is gone"


def test_the_second_time_nothing_is_embedded(
    model: DualEncoder, images: list[Path], tmp_path: Path, counting: Callable[..., Counting]
) -> None:
    first = build_index(model, images, tmp_path / "i.safetensors").index
    engine = counting()
    built = build_index(model, images, tmp_path / "i.safetensors")
    assert (engine.images, built.embedded, built.unchanged) == (0, 0, 9)
    assert np.array_equal(built.index.embeddings, first.embeddings)
    built = build_index(model, images, tmp_path / "i.safetensors", fresh=True)
    assert (engine.images, built.embedded, built.unchanged) == (9, 9, 0)


def test_only_what_changed_is_embedded_again(
    model: DualEncoder, images: list[Path], tmp_path: Path, counting: Callable[..., Counting]
) -> None:
    build_index(model, images, tmp_path / "i.safetensors")
    toy_dual.plain_image("black", 41, 31).save(images[4])
    stat = images[7].stat()
    os.utime(images[7], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    engine = counting()
    built = build_index(model, images, tmp_path / "i.safetensors")
    assert (engine.images, built.embedded, built.unchanged) == (2, 2, 7)
    assert np.allclose(ImageIndex.load(tmp_path / "i.safetensors").embeddings, expected(model, images), atol=NOISE)


def test_images_from_before_stay_unless_they_are_gone(model: DualEncoder, images: list[Path], tmp_path: Path) -> None:
    build_index(model, images[:6], tmp_path / "i.safetensors")
    images[0].unlink()
    built = build_index(model, images[5:], tmp_path / "i.safetensors")
    assert (built.embedded, built.unchanged, built.kept, built.gone) == (3, 1, 4, 1)
    index = ImageIndex.load(tmp_path / "i.safetensors")
    assert sorted(index.paths) == sorted(f"p/{path.name}" for path in images[1:])
    by_name = dict(zip(index.paths, index.embeddings, strict=True))
    for path, row in zip(images[1:], expected(model, images[1:]), strict=True):
        assert np.allclose(by_name[f"p/{path.name}"], row, atol=NOISE)


def test_an_interrupted_run_is_taken_up_where_it_was(
    model: DualEncoder, images: list[Path], tmp_path: Path, counting: Callable[..., Counting]
) -> None:
    counting(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        build_index(model, images, tmp_path / "i.safetensors", batch_size=2)
    assert not (tmp_path / "i.safetensors").exists()
    assert (tmp_path / "i.safetensors.partial").exists()
    engine = counting()
    built = build_index(model, images, tmp_path / "i.safetensors", batch_size=2)
    assert (engine.images, built.embedded, built.unchanged) == (5, 5, 4)
    assert np.allclose(ImageIndex.load(tmp_path / "i.safetensors").embeddings, expected(model, images), atol=NOISE)
    assert not (tmp_path / "i.safetensors.partial").exists()


def test_an_interrupted_update_leaves_the_old_index(
    model: DualEncoder, images: list[Path], tmp_path: Path, counting: Callable[..., Counting]
) -> None:
    build_index(model, images[:3], tmp_path / "i.safetensors")
    before = (tmp_path / "i.safetensors").read_bytes()
    counting(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        build_index(model, images, tmp_path / "i.safetensors", batch_size=1)
    assert (tmp_path / "i.safetensors").read_bytes() == before
    engine = counting()
    assert len(build_index(model, images, tmp_path / "i.safetensors").index) == 9
    assert engine.images == 4


def partial_of(model: DualEncoder, images: list[Path], out: Path, counting: Callable[..., Counting]) -> Path:
    counting(stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        build_index(model, images, out, batch_size=1)
    return out.with_name(f"{out.name}.partial")


@pytest.mark.parametrize(
    ("damage", "reused"),
    [
        (lambda lines: [*lines[:3], lines[3][: len(lines[3]) // 2]], 2),  # killed in the middle of a line
        (lambda lines: [*lines[:3], b"{}\n", *lines[3:]], 2),
        (lambda lines: [*lines[:2], lines[2].replace(b'"embedding": "', b'"embedding": "AAAA'), *lines[3:]], 1),
        (lambda lines: [lines[0].replace(b"journal 1", b"journal 0"), *lines[1:]], 0),
        (lambda lines: [lines[0][:9]], 0),  # killed in the middle of the head
        (lambda lines: [lines[0].replace(b'"dim": 4', b'"dim": 5'), *lines[1:]], 0),
        (lambda lines: [], 0),
    ],
)
def test_a_damaged_journal_costs_what_is_damaged(
    damage: Callable[[list[bytes]], list[bytes]],
    reused: int,
    model: DualEncoder,
    images: list[Path],
    tmp_path: Path,
    counting: Callable[..., Counting],
) -> None:
    partial = partial_of(model, images, tmp_path / "i.safetensors", counting)
    lines = partial.read_bytes().splitlines(keepends=True)
    assert len(lines) == 6  # a head, and five images
    partial.write_bytes(b"".join(damage(lines)))
    engine = counting(stop_at=9 - reused - 1)
    with pytest.raises(KeyboardInterrupt):  # once more, so that what is appended after the damage counts as well
        build_index(model, images, tmp_path / "i.safetensors", batch_size=1)
    engine = counting()
    build_index(model, images, tmp_path / "i.safetensors")
    assert engine.images == 1
    assert np.allclose(ImageIndex.load(tmp_path / "i.safetensors").embeddings, expected(model, images), atol=NOISE)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda partial, image: partial.symlink_to(image), "is a link"),
        (lambda partial, image: partial.symlink_to(partial.with_name("absent")), "is a link"),
        (lambda partial, image: partial.hardlink_to(image), r"has another name too \(a hard link\)"),
        (lambda partial, image: partial.write_bytes(b"half a download"), "is there already and no journal of nexus"),
        (lambda partial, image: partial.write_bytes(b'{"format": "other"}\n'), "is there already and no journal of"),
        (lambda partial, image: partial.write_bytes(b"{\n"), "is there already and no journal of nexus"),
        (lambda partial, image: partial.mkdir(), "is no file"),
    ],
)
def test_what_is_no_journal_is_neither_written_nor_removed(
    make: Callable[[Path, Path], object], problem: str, model: DualEncoder, images: list[Path], tmp_path: Path
) -> None:
    partial, image = tmp_path / "i.safetensors.partial", images[0].read_bytes()
    make(partial, images[0])
    before = partial.lstat()
    content = partial.read_bytes() if partial.is_file() else None
    with pytest.raises(OutputError, match=rf"i\.safetensors\.partial: {problem}") as raised:
        build_index(model, images, tmp_path / "i.safetensors")
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)
    assert images[0].read_bytes() == image
    assert os.path.samestat(partial.lstat(), before)
    assert content is None or partial.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(("i.", "absent"))) == [partial.name]


def test_a_journal_of_two_names_is_not_written(
    model: DualEncoder, images: list[Path], tmp_path: Path, counting: Callable[..., Counting]
) -> None:
    partial = partial_of(model, images, tmp_path / "i.safetensors", counting)
    (tmp_path / "kept").hardlink_to(partial)
    before = partial.read_bytes()
    counting()
    with pytest.raises(OutputError, match="a hard link"):
        build_index(model, images, tmp_path / "i.safetensors")
    assert (tmp_path / "kept").read_bytes() == before
    (tmp_path / "kept").unlink()
    assert build_index(model, images, tmp_path / "i.safetensors").unchanged == 5


def test_another_models_journal_is_not_used(
    model: DualEncoder, images: list[Path], tmp_path: Path, counting: Callable[..., Counting]
) -> None:
    partial_of(model, images, tmp_path / "i.safetensors", counting)
    other = load_dual_encoder(toy_dual.write_bundle(tmp_path / "other", tint=2.0))
    assert build_index(other, images, tmp_path / "i.safetensors").embedded == 9


def test_another_models_index_is_not_overwritten(model: DualEncoder, images: list[Path], tmp_path: Path) -> None:
    other = load_dual_encoder(toy_dual.write_bundle(tmp_path / "other", tint=2.0))
    build_index(other, images, tmp_path / "i.safetensors")
    before = (tmp_path / "i.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"made by another model \(other\) than toy-dual"):
        build_index(model, images, tmp_path / "i.safetensors")
    assert (tmp_path / "i.safetensors").read_bytes() == before
    assert build_index(model, images, tmp_path / "i.safetensors", fresh=True).embedded == 9


def test_unreadable_images_are_skipped_and_listed(model: DualEncoder, images: list[Path], tmp_path: Path) -> None:
    images[2].write_bytes(b"a letter")
    images[5].write_bytes(images[5].read_bytes()[:60])
    images[6].unlink()
    built = build_index(model, images, tmp_path / "i.safetensors", batch_size=2)
    assert {item.path for item in built.skipped} == {images[2], images[5], images[6]}
    assert all(str(item.path) in item.reason for item in built.skipped)
    good = [path for place, path in enumerate(images) if place not in (2, 5, 6)]
    assert built.index.paths == tuple(f"p/{path.name}" for path in good)
    assert np.allclose(built.index.embeddings, expected(model, good), atol=NOISE)


def test_an_image_that_became_unreadable_leaves_the_index(
    model: DualEncoder, images: list[Path], tmp_path: Path
) -> None:
    build_index(model, images, tmp_path / "i.safetensors")
    images[0].write_bytes(b"a letter")
    built = build_index(model, images, tmp_path / "i.safetensors")
    assert (built.unchanged, len(built.skipped), len(built.index)) == (8, 1, 8)


def test_no_readable_image_is_no_index(model: DualEncoder, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a letter")
    with pytest.raises(InputError, match=r"none of 1 image can be read, the first because: .*a\.png"):
        build_index(model, [tmp_path / "a.png"], tmp_path / "i.safetensors")
    assert not (tmp_path / "i.safetensors").exists()


def test_half_precision_halves_the_embeddings(model: DualEncoder, images: list[Path], tmp_path: Path) -> None:
    built = build_index(model, images, tmp_path / "i.safetensors", dtype=np.float16)
    assert built.index.embeddings.dtype == np.float16
    again = build_index(model, images, tmp_path / "i.safetensors", dtype=np.float16)
    assert again.unchanged == 9 and np.array_equal(again.index.embeddings, built.index.embeddings)


def test_a_place_that_cannot_be_written_is_known_before_the_work(
    model: DualEncoder, images: list[Path], tmp_path: Path, counting: Callable[..., Counting]
) -> None:
    (tmp_path / "file").touch()
    engine = counting()
    with pytest.raises(OutputError, match="cannot be written"):
        build_index(model, images, tmp_path / "file" / "i.safetensors")
    assert engine.images == 0


def test_two_at_once_do_not_write_into_each_other(
    model: DualEncoder, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, refused = tmp_path / "i.safetensors", []
    encode = model.engine.encode_images

    def meanwhile(pixels: np.ndarray) -> np.ndarray:
        if not refused:
            with pytest.raises(
                OutputError, match=r"i\.safetensors\.partial: another nexus-edge embed is writing it; wait"
            ) as error:
                build_index(model, images[:2], out)
            refused.append(error)
        return encode(pixels)

    monkeypatch.setattr(model.engine, "encode_images", meanwhile)
    assert build_index(model, images, out).embedded == 9
    assert refused
    assert build_index(model, images, out).unchanged == 9
    assert not out.with_name("i.safetensors.partial").exists()


def test_the_journal_says_what_it_is(
    model: DualEncoder, images: list[Path], tmp_path: Path, counting: Callable[..., Counting]
) -> None:
    partial = partial_of(model, images, tmp_path / "i.safetensors", counting)
    head = json.loads(partial.read_bytes().splitlines()[0])
    assert head == {"format": "nexus-edge index journal 1", "image_tower": model.info.image_tower, "dim": toy_dual.DIM}


def test_progress_counts_what_is_to_be_embedded(model: DualEncoder, images: list[Path], tmp_path: Path) -> None:
    build_index(model, images[:4], tmp_path / "i.safetensors")
    seen: list[tuple[int, int]] = []
    build_index(model, images, tmp_path / "i.safetensors", batch_size=2, progress=lambda *counts: seen.append(counts))
    assert seen == [(0, 5), (2, 5), (4, 5), (5, 5)]


def test_fresh_replaces_an_index_and_nothing_else(model: DualEncoder, images: list[Path], tmp_path: Path) -> None:
    notes = tmp_path / "notes.safetensors"
    notes.write_text('about "format":"nexus-edge image index 2",')
    with pytest.raises(OutputError, match=r"notes\.safetensors: is there already and not an index .* so fresh=True"):
        build_index(model, images, notes, fresh=True)
    assert notes.read_text().startswith("about") and not (tmp_path / "notes.safetensors.partial").exists()
    for _ in range(2):
        assert build_index(model, images, tmp_path / "i.safetensors", fresh=True).embedded == len(images)


def test_a_place_is_seen_before_the_work(
    model: DualEncoder, counting: Callable[..., Counting], images: list[Path], tmp_path: Path
) -> None:
    engine = counting()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file, not a folder"):
        build_index(model, images, tmp_path / "file" / "i.safetensors")
    assert engine.images == 0


def test_no_images_at_all(model: DualEncoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images were given, and the index holds none"):
        build_index(model, [], tmp_path / "i.safetensors")
    assert list(tmp_path.iterdir()) == []
