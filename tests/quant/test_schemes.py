"""Scheme files: what comes with nexus-edge is consistent, and a wrong file is refused with a helpful line."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from nexus_edge.errors import RecipeError
from nexus_edge.quant.registry import find_quantizer, require_quantizer
from nexus_edge.quant.schemes import available_schemes, load_scheme, read_scheme

GOOD = 'description = "x"\nmethod = "rtn"\nbits = 4\ngroup_size = 32\nactivation = "int8-block"\n'


@pytest.mark.parametrize("name", available_schemes())
def test_every_shipped_scheme_loads_and_its_name_tells_the_truth(name: str) -> None:
    scheme = load_scheme(name)
    pattern = r"(float|int)(\d+)(?:-g(\d+))?(-asym|-int8)?"
    kind, bits, group, rest = re.fullmatch(pattern, name).groups()
    assert (scheme.name, scheme.bits, scheme.group_size) == (name, int(bits), int(group or 0))
    assert scheme.is_float == (kind == "float")
    assert scheme.symmetric == (rest is None)
    assert scheme.two_level == (rest == "-int8")
    require_quantizer(scheme)


def test_the_schemes_of_the_recipes_exist() -> None:
    assert {"float32", "float16", "int8", "int4-g32", "int4-g64", "int4-g128", "int4-g32-asym"} <= set(
        available_schemes()
    )


def test_an_unknown_scheme_is_refused_with_a_suggestion() -> None:
    with pytest.raises(RecipeError, match="no scheme 'int4-g23'; did you mean 'int4-g32'"):
        load_scheme("int4-g23")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "grup_size = 32\n", "unknown key 'grup_size'; did you mean 'group_size'"),
        (GOOD + "zebra = 1\n", "unknown key 'zebra'; known: activation"),
        (GOOD.replace("bits = 4\n", ""), "bits is missing"),
        (GOOD.replace("bits = 4", 'bits = "4"'), "bits must be a whole number >= 0, not a str '4'"),
        (GOOD.replace("bits = 4", "bits = true"), "bits must be a whole number >= 0, not a bool True"),
        (GOOD.replace("bits = 4", "bits = 5"), "bits = 5 does not fit"),
        (GOOD.replace("= 32", "= 24"), "group_size = 24 is not a power of two >= 16"),
        (GOOD.replace("= 32", "= 8"), "group_size = 8 is not a power of two >= 16"),
        (GOOD.replace("= 32", "= 0"), "needs bits = 8"),
        (GOOD.replace("int8-block", "int8-row"), 'groups go with activation = "int8-block"'),
        (GOOD.replace("rtn", "two-levels"), "method = 'two-levels'; did you mean 'two-level'"),
        (GOOD.replace("int8-block", "int7"), "activation = 'int7'; known: int8-block, int8-row, none"),
        (GOOD + 'scale_dtype = "bfloat16"\n', "scale_dtype = 'bfloat16'; did you mean 'float16'"),
        ('description = "x"\nmethod = "float"\nbits = 16\ngroup_size = 32\n', 'method = "float" has no group_size'),
        (GOOD + "symmetric = 1\n", "symmetric must be true or false, not a int 1"),
        ("description = \n", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        read_scheme(path)
    assert "mine" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: cannot be read"):
        read_scheme(tmp_path / "none.toml")


def test_a_method_without_a_file_is_refused() -> None:
    with pytest.raises(RecipeError, match='no quantizer for method = "magic"; known: float, rtn, rtn-mse, two-level'):
        find_quantizer("magic")


def test_a_method_that_does_not_make_the_codes_is_refused() -> None:
    scheme = replace(load_scheme("int4-g32"), name="mine", method="two-level")
    with pytest.raises(RecipeError, match='mine: method = "two-level" makes int4-two-level codes, not int4-group'):
        require_quantizer(scheme)
