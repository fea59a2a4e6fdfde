"""Functions of packages behind one protocol: in the evaluator, and in Core ML, where a stand-in plays coremltools."""

import enum
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from nexus_edge.bundle import Bundle
from nexus_edge.engines.coreml import native as coreml_native
from nexus_edge.engines.coreml import session as coreml_session
from nexus_edge.engines.coreml.mil import MilFunction, MilModel
from nexus_edge.engines.coreml.native import NativeFunction, why_not_native
from nexus_edge.engines.coreml.session import EvaluatedFunction, open_function
from nexus_edge.errors import BundleError
from nexus_edge.runtimes import EngineOptions, load_vlm

QUESTION = "Is there a purple circle?"


class ComputeUnit(enum.Enum):
    """coremltools' own names."""

    ALL = 1
    CPU_AND_GPU = 2
    CPU_ONLY = 3
    CPU_AND_NE = 4


class MLState:
    def __init__(self, values: dict[str, np.ndarray]) -> None:
        self.values = values

    def read_state(self, name: str) -> np.ndarray:
        return self.values[name].astype(np.float16)

    def write_state(self, name: str, value: np.ndarray) -> None:
        assert value.shape == self.values[name].shape
        self.values[name] = value.astype(np.float32)


class MLModel:
    """As coremltools 9's: the same arguments, the same complaints; the evaluator computes."""

    made: ClassVar[list[tuple[str, str | None, ComputeUnit]]] = []

    def __init__(self, model: str, *, compute_units: ComputeUnit, function_name: str | None) -> None:
        assert isinstance(model, str) and isinstance(compute_units, ComputeUnit)
        functions = MilModel.open(model).functions
        if function_name is None:
            assert list(functions) == ["main"], "without a name Core ML would take the default function"
        elif function_name not in functions:
            raise ValueError(f"function_name {function_name} not found in the model.")
        self._function = functions[function_name or "main"]
        self.made.append((model, function_name, compute_units))

    def make_state(self) -> MLState:
        return MLState(self._function.new_state())

    def predict(self, data: dict[str, Any], state: MLState | None = None) -> dict[str, np.ndarray]:
        for name, value in data.items():
            if name not in self._function.inputs:
                raise RuntimeError(f"Provided key {name!r} does not match any of the model input name(s)")
            assert isinstance(value, np.ndarray) and value.flags.c_contiguous and value.dtype != np.float16
        if self._function.states and state is None:
            raise RuntimeError("The model is stateful, and no state was given.")
        results = self._function.run(data, None if state is None else state.values, "fp16")
        return {name: value.astype(self._function.outputs[name].dtype) for name, value in results.items()}


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> type[MLModel]:
    """Core ML seems to be here."""
    monkeypatch.setattr(coreml_session, "is_native", lambda: True)
    module = SimpleNamespace(models=SimpleNamespace(MLModel=MLModel), ComputeUnit=ComputeUnit)
    monkeypatch.setitem(sys.modules, "coremltools", module)
    monkeypatch.setattr(MLModel, "made", [])
    return MLModel


def function(bundle: Bundle, package: str, name: str) -> MilFunction:
    return MilModel.open(bundle.root / f"coreml/{package}.mlpackage").functions[name]


def test_elsewhere_the_evaluator_computes(coreml_vlm: Bundle) -> None:
    assert isinstance(open_function(function(coreml_vlm, "head", "main")), EvaluatedFunction)


def test_core_ml_is_asked_for_one_function_of_several_by_its_name(coreml_vlm: Bundle, mac: type[MLModel]) -> None:
    decode, head = function(coreml_vlm, "decoder_1_of_2", "decode"), function(coreml_vlm, "head", "main")
    for opened, units in ((decode, "cpuAndNeuralEngine"), (head, "cpuOnly")):
        assert isinstance(open_function(opened, units), NativeFunction)
    folder = coreml_vlm.root / "coreml"
    assert mac.made == [
        (str(folder / "decoder_1_of_2.mlpackage"), "decode", ComputeUnit.CPU_AND_NE),
        (str(folder / "head.mlpackage"), None, ComputeUnit.CPU_ONLY),
    ]


def test_a_state_of_one_function_serves_the_other(coreml_vlm: Bundle, mac: type[MLModel]) -> None:
    prefill, decode = (open_function(function(coreml_vlm, "decoder_1_of_2", name)) for name in ("prefill", "decode"))
    state, rows = decode.new_state(), np.random.default_rng(1).standard_normal((1, 64, 128)).astype(np.float32)
    numbers = {"position": np.array([0]), "length": np.array([64])}  # int64, which Core ML does not take
    prefill.run({"hidden_states": rows, **numbers}, state)
    assert state.read_state("key_1")[:, :, :64].any() and not state.read_state("key_1")[:, :, 64:].any()
    past = state.read_state("value_0").copy()
    decode.run({"hidden_states": rows[:, :1], "position": np.array([64]), "length": np.array([65])}, state)
    new = state.read_state("value_0")
    assert np.array_equal(new[:, :, :64], past[:, :, :64]) and new[:, :, 64].any()


def test_an_answer_in_core_ml_is_the_evaluators(
    coreml_vlm: Bundle, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = "".join(load_vlm(coreml_vlm).generate(QUESTION, max_new_tokens=4))
    made = request.getfixturevalue("mac").made
    assert "".join(load_vlm(coreml_vlm).generate(QUESTION, max_new_tokens=4)) == here
    # What the manifest advises for each package, and nothing of a vision encoder that no image needs.
    used = {(model.rpartition("/")[2], name, units) for model, name, units in made}
    assert used == {
        ("embed_tokens.mlpackage", "tokens_1", ComputeUnit.CPU_ONLY),
        ("embed_tokens.mlpackage", "tokens_64", ComputeUnit.CPU_ONLY),
        ("head.mlpackage", None, ComputeUnit.CPU_AND_NE),
        *((f"decoder_{n}_of_2.mlpackage", f, ComputeUnit.CPU_AND_NE) for n in (1, 2) for f in ("decode", "prefill")),
    }


@pytest.mark.parametrize(
    ("inputs", "message"),
    [({}, "the input 'hidden_states' is missing"), ({"hidden_states": np.zeros((1, 2, 128))}, "does not run in Core")],
)
def test_what_core_ml_refuses_is_one_line(
    coreml_vlm: Bundle, mac: type[MLModel], inputs: dict[str, np.ndarray], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: MLModel, data: object, state: object = None) -> None:
        raise RuntimeError("Error binding input\n buffer: shape mismatch")

    monkeypatch.setattr(MLModel, "predict", refuse)
    with pytest.raises(BundleError, match=message) as caught:
        open_function(function(coreml_vlm, "head", "main")).run(inputs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("system", "version", "missing"),
    [
        ("linux", "", "Core ML is part of macOS"),
        ("darwin", "14.6", "need macOS 15, this is 14.6"),
        ("darwin", "15.1", None),
    ],
)
def test_what_is_missing_for_core_ml(
    monkeypatch: pytest.MonkeyPatch, system: str, version: str, missing: str | None
) -> None:
    monkeypatch.setattr(coreml_native, "sys", SimpleNamespace(platform=system))
    monkeypatch.setattr(coreml_native.platform, "mac_ver", lambda: (version, ("", "", ""), ""))
    monkeypatch.setattr(coreml_native, "find_spec", lambda name: object())
    reason = why_not_native()
    assert reason is None if missing is None else missing in str(reason)


def test_without_coremltools_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreml_native, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(coreml_native.platform, "mac_ver", lambda: ("26.0", ("", "", ""), ""))
    monkeypatch.setattr(coreml_native, "find_spec", lambda name: None)
    assert "pip install 'nexus-edge[coreml]'" in str(why_not_native())


@pytest.mark.skipif(why_not_native() is not None, reason=f"nothing here runs Core ML: {why_not_native()}")
def test_a_mac_answers_as_the_evaluator_does(coreml_vlm: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    options = EngineOptions(engine="coreml")
    there = "".join(load_vlm(coreml_vlm, options).generate(QUESTION, max_new_tokens=8))
    monkeypatch.setattr(coreml_session, "is_native", lambda: False)
    assert there == "".join(load_vlm(coreml_vlm, options).generate(QUESTION, max_new_tokens=8))
