"""Every family: its tiny checkpoint, the names of its weights, and the keys of its configuration files."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import Tiny, write_tiny

from nexus_edge.checkpoints import open_checkpoint, published
from nexus_edge.checkpoints.base import TensorInfo
from nexus_edge.configs.keys import Rules, Table, check_keys_of
from nexus_edge.errors import CheckpointError
from nexus_edge.families import families, family_of
from nexus_edge.models.loading import build_empty, weights_of
from nexus_edge.pipeline.preflight import check_files, check_processor

every_family = pytest.mark.parametrize("model_type", families())
LARGEST = 2_000_000
UNKNOWN = "key_of_next_year"
Config = dict[str, Any]


@every_family
def test_it_brings_a_tiny_checkpoint(tiny: Tiny) -> None:
    files = [path for path in tiny.folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST
    checkpoint = tiny.checkpoint
    assert family_of(checkpoint.config, checkpoint.name) is tiny.family
    assert checkpoint.kind == "synthetic", "no figure of it may be taken for one of the real model"
    check_files(checkpoint.processor_files(), checkpoint, tiny.family.model_type)
    check_processor(tiny.folder, checkpoint.processor_files(), build_empty(checkpoint))


def test_a_family_without_one_fails_by_name(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"tests/models/third/tiny\.py is missing"):
        write_tiny("third", tmp_path / "checkpoint")


@every_family
def test_each_of_its_weights_is_needed_and_no_other_is_taken(
    tiny: Tiny, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, model = dict(tiny.checkpoint.keys()), build_empty(tiny.checkpoint)
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert {name: info.shape for name, info in weights_of(tiny.checkpoint, model).infos.items()} == expected

    def complaint(keys: dict[str, TensorInfo]) -> str:
        monkeypatch.setattr(tiny.checkpoint, "keys", lambda: keys)
        with pytest.raises(CheckpointError) as caught:
            weights_of(tiny.checkpoint, model)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    missing, reshaped = set(), set()
    for key in found:
        missing.add(complaint({name: info for name, info in found.items() if name != key}).partition(" 1 missing: ")[2])
        said = complaint({**found, key: TensorInfo("float32", (7, 7, 7))})
        reshaped.add(said.partition(" 1 of the wrong shape: ")[2].partition(" [7, 7, 7] instead of ")[0])
    assert missing == reshaped == expected.keys()
    assert "1 unexpected: of.another.model" in complaint({**found, "of.another.model": TensorInfo("float32", (1,))})
    monkeypatch.undo()


@every_family
def test_the_model_has_the_checkpoints_numbers(tiny: Tiny) -> None:
    parameters = dict(tiny.model.named_parameters())
    sums = sorted(float(parameter.double().sum()) for parameter in parameters.values())
    keys = list(tiny.checkpoint.keys())
    stored = [torch.from_numpy(tiny.checkpoint.read(key).copy()) for key in keys]
    assert sums == sorted(float(tensor.double().sum()) for tensor in stored)
    assert not tiny.model.training
    assert all(bool(torch.isfinite(value).all()) for value in tiny.model.constants().values())


def objects(config: Config, prefix: str = "") -> Iterator[str]:
    """Dotted paths of the objects in a configuration, each with a dot at its end; "" for itself."""
    yield prefix
    for key, value in config.items():
        if isinstance(value, dict):
            yield from objects(value, f"{prefix}{key}.")


def tables(rules: Rules, prefix: str = "") -> Iterator[str]:
    """The same of the objects that rules know."""
    yield prefix
    for key, rule in rules.items():
        if isinstance(rule, Table):
            yield from tables(rule.keys, f"{prefix}{key}.")


def with_unknown(config: Config, prefix: str, value: object = 1) -> Config:
    config = copy.deepcopy(config)
    inner = config
    for part in prefix.split(".")[:-1]:
        inner = inner.setdefault(part, {})
    inner[UNKNOWN] = value
    return config


@every_family
def test_an_unknown_key_is_refused_in_every_object_of_the_configuration(tiny: Tiny) -> None:
    """By the model itself, whoever builds it."""
    for prefix in objects(tiny.checkpoint.config):
        with pytest.raises(CheckpointError) as caught, torch.device("meta"):
            tiny.family.build(with_unknown(tiny.checkpoint.config, prefix))
        assert f"'{prefix}{UNKNOWN}'" in str(caught.value) and "\n" not in str(caught.value)
        with torch.device("meta"):
            tiny.family.build(with_unknown(tiny.checkpoint.config, prefix, None))  # null says nothing


@every_family
def test_an_unknown_key_is_refused_in_every_other_file(tiny: Tiny, model_type: str) -> None:
    files, checked = dict(tiny.checkpoint.processor_files()), 0
    for name, rules in tiny.family.config_rules.items():
        for prefix in tables(rules):
            with pytest.raises(CheckpointError, match=rf"'{prefix}{UNKNOWN}'.*--ignore-config-key"):
                check_keys_of(with_unknown({}, prefix), rules, name)
        if name in files and name != "config.json":
            changed = {**files, name: json.dumps(with_unknown(json.loads(files[name]), "")).encode()}
            with pytest.raises(CheckpointError, match=rf"{name}.*'{UNKNOWN}'"):
                check_files(changed, tiny.checkpoint, model_type)
            checked += 1
    assert checked or set(files) <= {"config.json", "tokenizer.json", "vocab.txt"}


@pytest.mark.parametrize("hub_id", published())
def test_the_numbers_of_a_published_checkpoint_are_understood(hub_id: str) -> None:
    """Its configuration, whole; weights that follow from it fit the model that it describes."""
    checkpoint = open_checkpoint("synthetic", hub_id)
    assert family_of(checkpoint.config, hub_id).model_type == published()[hub_id].model_type
    assert len(weights_of(checkpoint).infos) > 100
    check_files(checkpoint.processor_files(), checkpoint, published()[hub_id].model_type)
