"""BiomedCLIP's towers, one IR each, with the inputs and outputs that they have in every format."""

from nexus_edge.export.openvino.family import Family, Part
from nexus_edge.graphs import GraphSpec


def _parts(spec: GraphSpec) -> list[Part]:
    return [Part(spec, spec.name)]


FAMILY = Family(_parts)
