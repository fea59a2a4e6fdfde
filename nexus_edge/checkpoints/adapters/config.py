"""adapter_config.json of a LoRA adapter.

Source: `LoraConfig` and `PeftConfig` of peft 0.5 to 0.21. Keys of later versions are refused until they are known.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from nexus_edge._typed import suggest
from nexus_edge.checkpoints.adapters.folder import CONFIG
from nexus_edge.checkpoints.adapters.regular import parsed
from nexus_edge.checkpoints.json_file import read_json
from nexus_edge.configs.keys import Inert, Only, Read, Rule, check_values_of
from nexus_edge.configs.values import choice, count, flag, number, table
from nexus_edge.errors import CheckpointError

Bias = Literal["none", "all", "lora_only"]
Modules = str | tuple[str, ...]
"""A regular expression for a module's whole name, or ends of names."""

_LORA_ONLY = "adapters of other kinds are not merged here"
_TRAINING = "only training reads it"
_CHANGED_BASE = (
    "the base weights themselves were changed when training began; save the adapter relative to the original weights "
    "(peft: save_pretrained with path_initial_model_for_weight_conversion)"
)
_LIVE = "it decides while the model runs, so it cannot be merged"
_MERGE = "merge it with peft (merge_and_unload), and export the result as a checkpoint"

RULES: Mapping[str, Rule] = {
    "peft_type": Only(("LORA",), _LORA_ONLY),
    "r": Read("the rank, beside rank_pattern"),
    "lora_alpha": Read("the scaling, beside alpha_pattern"),
    "rank_pattern": Read("the rank of some modules"),
    "alpha_pattern": Read("the scaling of some modules"),
    "use_rslora": Read("the scaling: alpha / sqrt(r) instead of alpha / r (arXiv 2312.03732)"),
    "use_dora": Read("magnitude and direction apart (arXiv 2402.09353)"),
    "target_modules": Read("which modules are adapted"),
    "exclude_modules": Read("which are not"),
    "layers_to_transform": Read("in which layers modules are adapted"),
    "layers_pattern": Read("what numbers the layers"),
    "modules_to_save": Read("modules that were trained as a whole"),
    "bias": Read("biases that were trained"),
    "lora_bias": Read("whether the second factor has a bias"),
    "base_model_name_or_path": Read("compared with what is opened"),
    "revision": Read("compared with what is opened"),
    "init_lora_weights": Only(
        (True, False, "gaussian", "eva", "orthogonal", "mica"), f"of another beginning {_CHANGED_BASE}"
    ),
    "use_qalora": Only((False,), f"QA-LoRA pools its inputs; {_MERGE}"),
    "trainable_token_indices": Only((), f"single rows of the embedding were trained; {_MERGE}"),
    "target_parameters": Only((), f"bare parameters were adapted; {_MERGE}"),
    "layer_replication": Only((), f"layers are repeated, which makes another model; {_MERGE}"),
    "megatron_config": Only((), f"layers were split between devices; {_MERGE}"),
    "alora_invocation_tokens": Only((), _LIVE),
    "arrow_config": Only((), _LIVE),
    "use_bdlora": Only((), f"its factors are stored as blocks; {_MERGE}"),
    "kasa_config": Only((), f"it cuts the base weights; {_MERGE}"),
    "monteclora_config": Only((), f"its factors are random while the model runs; {_MERGE}"),
    "velora_config": Only((), f"it is not known what it leaves in the weights; {_MERGE}"),
    "fan_in_fan_out": Inert("peft sets it by the layer's class: linear layers, which these models have, are [out, in]"),
    "ensure_weight_tying": Inert("adapted tensors that are tied are refused"),
    "qalora_group_size": Inert("use_qalora says whether it is used"),
    "megatron_core": Inert("names a package; megatron_config says whether it is used"),
    "inference_mode": Inert("says whether gradients are wanted"),
    "task_type": Inert("chooses the class that wraps the model"),
    "auto_mapping": Inert("names the class of the base model"),
    "peft_version": Inert("what the keys mean is told by the keys"),
    **dict.fromkeys(("lora_dropout", "runtime_config"), Inert(_TRAINING)),
    **dict.fromkeys(
        ("loftq_config", "eva_config", "corda_config", "lora_ga_config"),
        Inert("how factors were initialized; init_lora_weights says whether that changed the base"),
    ),
}


@dataclass(frozen=True)
class AdapterConfig:
    """What adapter_config.json says.

    Attributes:
        rank: columns of the second factor, where no pattern says otherwise
        alpha: the numerator of the scaling, likewise
        ranks, alphas: pattern of a module's name -> its own
        rslora: whether the scaling is alpha / sqrt(rank) instead of alpha / rank
        dora: whether a magnitude stands beside the factors
        targets: modules that are adapted; None: no module, only `saved` ones
        excluded: modules that are not; () for none
        layers: numbers of the layers that are adapted; None: all
        layer_patterns: names of the lists whose numbers `layers` means; (): any
        saved: ends of the names of modules that were trained as a whole
        bias: which biases the adapter holds
        lora_bias: whether the second factor has a bias
        base: what it says to be trained on, a hub id or a path
        revision: of that
    """

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    rslora: bool
    dora: bool
    targets: Modules | None
    excluded: Modules
    layers: frozenset[int] | None
    layer_patterns: tuple[str, ...]
    saved: tuple[str, ...]
    bias: Bias
    lora_bias: bool
    base: str | None
    revision: str | None

    @classmethod
    def read(cls, folder: Path) -> "AdapterConfig":
        """Raises CheckpointError, naming the key."""
        path = folder / CONFIG
        config = read_json(path)
        for key, value in config.items():
            if value is not None and key not in RULES:
                raise CheckpointError(
                    f"{path}: nexus-edge does not know the key {key!r}{suggest(key, RULES)}; it may change what the "
                    f"adapter means: {_MERGE}"
                )
        check_values_of(config, RULES, str(path))
        if config.get("peft_type") is None:  # peft looks its class up by it: a KeyError, for null as without the key
            found = "null" if "peft_type" in config else "missing"
            raise CheckpointError(f"{path}: peft_type is {found}; {_LORA_ONLY}")
        try:
            return cls._from_json(config)
        except (KeyError, TypeError, ValueError) as error:
            what = f"missing key {error}" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"{path}: {what}") from error

    @classmethod
    def _from_json(cls, config: Mapping[str, Any]) -> "AdapterConfig":
        ranks, alphas = table(config, "rank_pattern"), table(config, "alpha_pattern")
        for pattern in ranks:
            _require_pattern("rank_pattern", pattern)
        for pattern in alphas:
            _require_pattern("alpha_pattern", pattern)
        layers, layer_patterns = config.get("layers_to_transform"), _patterns(config, "layers_pattern")
        if layer_patterns and layers in (None, []):  # PEFT refuses it, too
            raise ValueError("layers_pattern is set without layers_to_transform, so it means no layer")
        if grouped := [pattern for pattern in layer_patterns if re.compile(pattern).groups]:
            raise ValueError(f"layers_pattern has a group; the layer's number must be the first: {grouped[0]!r:.60}")
        bias = choice(config, "bias", get_args(Bias), "none")
        return cls(
            rank=count(config, "r", 8),
            alpha=number(config, "lora_alpha", 8.0),
            ranks={pattern: count(ranks, pattern) for pattern in ranks},
            alphas={pattern: number(alphas, pattern) for pattern in alphas},
            rslora=flag(config, "use_rslora"),
            dora=flag(config, "use_dora"),
            targets=_modules(config, "target_modules"),
            excluded=_modules(config, "exclude_modules") or (),
            layers=None if layers in (None, []) else _numbers(layers),
            layer_patterns=layer_patterns,
            saved=_patterns(config, "modules_to_save"),
            bias="none" if bias == "none" else "all" if bias == "all" else "lora_only",
            lora_bias=flag(config, "lora_bias"),
            base=_text(config, "base_model_name_or_path"),
            revision=_text(config, "revision"),
        )


def _modules(config: Mapping[str, Any], key: str) -> Modules | None:
    value = config.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        _require_pattern(key, value)
        return value
    return _names(config, key)


def _require_pattern(key: str, pattern: str) -> None:
    try:
        parsed(pattern)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _patterns(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Names that PEFT puts into regular expressions as they are."""
    names = _names(config, key)
    for name in names:
        _require_pattern(key, name)
    return names


def _names(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = config.get(key) or []
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{key} is {value!r:.60}, expected names of modules")
    return tuple(value)


def _numbers(value: object) -> frozenset[int]:
    numbers = value if isinstance(value, list) else [value]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"layers_to_transform is {value!r:.60}, expected numbers of layers")
    return frozenset(numbers)


def _text(config: Mapping[str, Any], key: str) -> str | None:
    value = config.get(key)
    if not isinstance(value, str | None):
        raise ValueError(f"{key} is {value!r:.60}, expected a text")
    return value or None
