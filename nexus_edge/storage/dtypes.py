"""Element types of safetensors files: the format's codes, our names, numpy's types.

Our names are numpy's own (`float32`, `bfloat16`, ...): the manifest, the recipes and the error messages use them.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from nexus_edge.errors import MissingExtraError

NAME_OF_CODE: Mapping[str, str] = MappingProxyType(
    {
        "F64": "float64",
        "F32": "float32",
        "F16": "float16",
        "BF16": "bfloat16",
        "I64": "int64",
        "I32": "int32",
        "I16": "int16",
        "I8": "int8",
        "U64": "uint64",
        "U32": "uint32",
        "U16": "uint16",
        "U8": "uint8",
        "BOOL": "bool",
    }
)
CODE_OF_NAME: Mapping[str, str] = MappingProxyType({name: code for code, name in NAME_OF_CODE.items()})
FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})


def item_size(name: str) -> int:
    """Bytes per element of the type called `name`; known for bfloat16 even where numpy cannot hold it."""
    return 2 if name == "bfloat16" else np.dtype(name).itemsize


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """The numpy type called `name`.

    Raises:
        MissingExtraError: for bfloat16 without `ml_dtypes`, which the runtime install does not have.
    """
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError as error:
        raise MissingExtraError("bfloat16 weights need ml_dtypes: pip install 'nexus-edge[export]'") from error
    bfloat16: np.dtype[np.generic] = np.dtype(ml_dtypes.bfloat16)
    return bfloat16
