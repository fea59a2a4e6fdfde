"""The reader of the held-out cells and fields, and the measures made with them, on cases worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nexus_edge.assets import held_out_images, recall_at, zero_shot_accuracy


def test_the_set_names_images_that_open_with_labels_and_captions() -> None:
    images = held_out_images()
    assert len(images.cells) >= 60 and len(images.fields) >= 40 and images.smears
    assert {cell.label for cell in images.cells} == set(images.labels)
    assert len({field.caption for field in images.fields}) == len(images.fields)
    assert all(field.label is None for field in (*images.fields, *images.smears))
    assert all("{}" in template for template in images.templates)
    for crop in (*images.cells, *images.fields, *images.smears):
        with Image.open(crop.path) as image:
            assert image.mode == "RGB" and min(image.size) >= 16
    assert [images.labels[i] for i in images.wanted] == [cell.label for cell in images.cells]


def test_a_folder_of_ones_own_is_read(tmp_path: Path) -> None:
    listed = {
        "labels": ["cat", "dog"], "templates": ["a {}"], "fields": [], "smears": [],
        "cells": [{"picture": "x.png", "label": "dog", "caption": "a dog"}],
    }  # fmt: skip
    (tmp_path / "crops.json").write_text(json.dumps(listed))
    images = held_out_images(tmp_path)
    assert images.cells[0].path == tmp_path / "x.png"
    assert images.wanted.tolist() == [1]
    with pytest.raises(FileNotFoundError):
        held_out_images(tmp_path / "nowhere")


def test_the_nearest_label_counts() -> None:
    labels = np.eye(3)
    images = np.array([[1, 0, 0], [0.6, 0.8, 0], [0.8, 0.6, 0], [0, 0.6, 0.8]])
    result = zero_shot_accuracy(images, labels, [0, 0, 0, 1])
    assert (result.right, result.asked) == ((2, 0, 0), (3, 1, 0))
    assert result.accuracy == 0.5
    assert result.balanced == pytest.approx((2 / 3 + 0) / 2)  # the third label has no image
    assert zero_shot_accuracy(np.zeros((0, 3)), labels, []).balanced == 0.0


def test_recall_counts_partners_among_the_first_k() -> None:
    texts = np.eye(4)
    images = np.array([[1, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 1, 0], [0, 0.6, 0.5, 0.4]])
    # Image 1 prefers text 0; image 3 prefers texts 1 and 2. Text 1 is as near to image 1 as to image 3: a miss.
    first = recall_at(1, images, texts)
    assert (first.image_to_text, first.text_to_image, first.chance) == (0.5, 0.75, 0.25)
    second = recall_at(2, images, texts)
    assert (second.image_to_text, second.text_to_image) == (0.75, 1.0)
    assert recall_at(10, images, texts).chance == 1.0


def test_embeddings_that_are_all_equal_find_nothing() -> None:
    same = np.ones((5, 2)) / 2**0.5
    assert recall_at(1, same, same).image_to_text == 0.0
    assert recall_at(5, same, same).image_to_text == 1.0
