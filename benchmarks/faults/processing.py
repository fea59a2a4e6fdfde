"""Faults in what turns images and text into tensors, in a bundle's files and in code, and in the runtime's cache."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from faults import BIOMEDCLIP, PHI3, Fault, Scene
from nexus_edge.engines.onnx.decoder import OnnxDecoder
from nexus_edge.models.biomedclip import processing as biomedclip
from nexus_edge.models.phi3_v import processing as phi3_v
from nexus_edge.processing.normalise import normalisation_table
from nexus_edge.runtimes.vlm.context import Context, Encoded, Tokens
from nexus_edge.runtimes.vlm.image_cache import ImageCache

VLM, DUAL = f"{PHI3} onnx", f"{BIOMEDCLIP} onnx"
RUNGS = ("P0", "P3", "P5")
END = ("P5",)
ORIGINAL = ("P0", "P1")  # the ladder's own images have grids of one row or column; those of the goldens have more
TEXT, ONE, TWO = ("text",), ("one image",), ("two images",)
IMAGENET = [0.485, 0.456, 0.406]


def edit_json(file: str, edit: Callable[[dict[str, Any]], object]) -> Callable[[Scene], None]:
    """A fault in a file of `processor/`."""

    def make(scene: Scene) -> None:
        path = scene.bundle.root / "processor" / file
        document = json.loads(path.read_text("utf-8"))
        before = json.dumps(document)
        edit(document)
        assert json.dumps(document) != before
        path.write_text(json.dumps(document), "utf-8")

    return make


def exchange(first: str, second: str) -> Callable[[dict[str, Any]], None]:
    """Two tokens of a vocabulary with each other's ids."""

    def edit(document: dict[str, Any]) -> None:
        vocabulary = document["model"]["vocab"]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]

    return edit


def roll_crops(scene: Scene) -> None:
    right = phi3_v._fill_views

    def shifted(views: np.ndarray, padded: np.ndarray, geometry: Any, table: np.ndarray) -> None:
        right(views, padded, geometry, table)
        views[1:] = np.roll(views[1:], 1, axis=0)

    scene.patch(phi3_v, "_fill_views", shifted)


def transpose_crops(scene: Scene) -> None:
    right = phi3_v._fill_views

    def turned(views: np.ndarray, padded: np.ndarray, geometry: Any, table: np.ndarray) -> None:
        right(views, padded, geometry, table)
        rows, columns = geometry.grid
        crops = views[1 : rows * columns + 1].copy()
        views[1 : rows * columns + 1] = (
            crops.reshape(rows, columns, *crops.shape[1:]).swapaxes(0, 1).reshape(crops.shape)
        )

    scene.patch(phi3_v, "_fill_views", turned)


def nearest_global_view(scene: Scene) -> None:
    def nearest(plane: np.ndarray, size: int) -> np.ndarray:
        rows, columns = (np.arange(size) * side // size for side in plane.shape)
        return plane[np.ix_(rows, columns)]

    scene.patch(phi3_v, "resize_bicubic", nearest)


def bgr(module: Any) -> Callable[[Scene], None]:
    """Red and blue normalised with each other's mean and deviation."""

    def make(scene: Scene) -> None:
        scene.patch(module, "normalisation_table", lambda mean, std: normalisation_table(mean, std)[[2, 1, 0]])

    return make


def other_scale(scene: Scene) -> None:
    info = scene.bundle.manifest.dual_encoder
    assert info is not None
    manifest = replace(scene.bundle.manifest, dual_encoder=replace(info, logit_scale=1.1 * info.logit_scale))
    scene.bundle = replace(scene.bundle, manifest=manifest)


def reversed_features(scene: Scene) -> None:
    right = ImageCache.encode

    def encode(self: ImageCache, *given: Any) -> list[Encoded]:
        return [replace(image, features=image.features[::-1].copy()) for image in right(self, *given)]

    scene.patch(ImageCache, "encode", encode)


def exchanged_images(scene: Scene) -> None:
    right = ImageCache.encode
    scene.patch(ImageCache, "encode", lambda self, *a: right(self, *a)[::-1])


def no_features(scene: Scene) -> None:
    right = Tokens.merged

    def zeros(self: Tokens, *given: Any) -> Any:
        nothing = None if self.features is None else np.zeros_like(self.features)
        return right(replace(self, features=nothing), *given)

    scene.patch(Tokens, "merged", zeros)


def past_off_by_one(scene: Scene) -> None:
    right = OnnxDecoder.extend

    def extend(self: OnnxDecoder, embeds: Any, past: int, positions: Any) -> Any:
        return right(self, embeds, max(0, past - 1), positions)

    scene.patch(OnnxDecoder, "extend", extend)


def previous_token(scene: Scene) -> None:
    right = Context.append

    def append(self: Context, id_: int) -> Any:
        return right(self, int(self._cached.tokens.ids[-1]))

    scene.patch(Context, "append", append)


def short_for_ever(scene: Scene) -> None:
    scene.patch(Context, "_regime", lambda self, length: 0)


def everything_reused(scene: Scene) -> None:
    def reusable(self: Context, tokens: Tokens) -> int:
        return 0 if self._cached is None else min(self._cached.length, len(tokens))

    scene.patch(Context, "reusable", reusable)


FILES = "[fp]*, *"  # "facts, ..." where the manifest tells them, else "processor, ...": both name what differs
LONG = ("text beyond the LongRoPE limit",)
FAULTS = (
    Fault(
        "mean of another data set",
        "preprocessing",
        VLM,
        "P0",
        FILES,
        edit_json("preprocessor_config.json", lambda it: it.update(image_mean=IMAGENET)),
        RUNGS,
        ONE,
    ),
    Fault(
        "two letters exchanged in the tokenizer",
        "preprocessing",
        VLM,
        "P0",
        FILES,
        edit_json("tokenizer.json", exchange("e", "t")),
        RUNGS,
        TEXT,
    ),
    Fault(
        "order of the views in config.json",
        "configuration",
        VLM,
        "P0",
        FILES,
        edit_json("config.json", lambda it: it["embd_layer"].update(hd_transform_order="glb_sub")),
        RUNGS,
        TWO,
    ),
    Fault(
        "original length in config.json",
        "configuration",
        VLM,
        "P0",
        FILES,
        edit_json("config.json", lambda it: it.update(original_max_position_embeddings=64)),
        RUNGS,
        TEXT,
    ),
    Fault(
        "base of RoPE in config.json",
        "configuration",
        VLM,
        "P0",
        FILES,
        edit_json("config.json", lambda it: it.update(rope_theta=5e5)),
        RUNGS,
        TEXT,
    ),
    Fault("crops shifted by one, in code", "preprocessing", VLM, "P5", "crops, *", roll_crops, END, TWO),
    Fault(
        "crops column by column, in code", "preprocessing", VLM, "P1", "vision_encoder, *", transpose_crops, ORIGINAL
    ),
    Fault(
        "global view by the nearest pixel, in code",
        "preprocessing",
        VLM,
        "P5",
        "crops, *",
        nearest_global_view,
        END,
        TWO,
    ),
    Fault("red normalised as blue, in code", "preprocessing", VLM, "P5", "crops, *", bgr(phi3_v), END, ONE),
    Fault(
        "bilinear instead of bicubic",
        "preprocessing",
        DUAL,
        "P0",
        FILES,
        edit_json("config.json", lambda it: it["preprocess_cfg"].update(interpolation="bilinear")),
        RUNGS,
    ),
    Fault(
        "mean of another data set",
        "preprocessing",
        DUAL,
        "P0",
        FILES,
        edit_json("config.json", lambda it: it["preprocess_cfg"].update(mean=IMAGENET)),
        RUNGS,
    ),
    Fault(
        "two words exchanged in the vocabulary",
        "preprocessing",
        DUAL,
        "P0",
        FILES,
        edit_json("tokenizer.json", exchange("blood", "cell")),
        RUNGS,
    ),
    Fault("red normalised as blue, in code", "preprocessing", DUAL, "P5", "pixels, *", bgr(biomedclip), END),
    Fault("logit scale 1.1 times as large", "configuration", DUAL, "P0", "dual_encoder, *", other_scale, RUNGS),
    Fault("rows of image features reversed", "cache", VLM, "P5", "image features, *", reversed_features, END, ONE),
    Fault("features of two images exchanged", "cache", VLM, "P5", "image features, *", exchanged_images, END, TWO),
    Fault("image features are zeros", "cache", VLM, "P5", "logits", no_features, END, ONE),
    Fault("cache one row short", "cache", VLM, "P5", "logits", past_off_by_one, END, TEXT),
    Fault("the token before is fed again", "cache", VLM, "P5", "logits", previous_token, END, TEXT),
    Fault("never switches to the long factors", "cache", VLM, "P5", "logits", short_for_ever, END, LONG),
    Fault("another prompt's cache is reused", "cache", VLM, "P5", "logits", everything_reused, END),
)
