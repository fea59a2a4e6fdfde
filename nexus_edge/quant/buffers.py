"""What a weight becomes under a scheme: names, types and shapes of its stored tensors, known without its data."""

from nexus_edge.quant.schemes import Scheme

BufferSpecs = dict[str, tuple[str, tuple[int, ...]]]


def buffer_specs(shape: tuple[int, int], scheme: Scheme, *, has_bias: bool) -> BufferSpecs:
    """Suffix -> (dtype, shape) of the tensors that store a weight [rows, columns] and its bias.

    The same suffixes, types and shapes come out of `quantize_tensor`.
    """
    rows, columns = shape
    specs: BufferSpecs
    if scheme.is_float:
        specs = {"weight": (f"float{scheme.bits}", shape)}
    elif scheme.per_channel:
        specs = {"qweight": ("int8", shape), "scales": (scheme.scale_dtype, (rows,))}
    else:
        groups = -(-columns // scheme.group_size)
        specs = {
            "qweight": ("uint8", (rows, groups, scheme.group_size * scheme.bits // 8)),
            "scales": (scheme.scale_dtype, (rows,) if scheme.two_level else (rows, groups)),
        }
        packed = ("uint8", (rows, -(-groups * scheme.bits // 8)))
        if not scheme.symmetric:
            specs["zero_points"] = packed
        if scheme.two_level:
            specs["multipliers"] = packed
    return specs | {"bias": ("float32", (rows,))} if has_bias else specs
