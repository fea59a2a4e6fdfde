"""The Core ML target: ML Programs with compressed constants, in packages of functions with fixed shapes.

family.py                 packages and their functions
schemes.py                which systems can hold which weights
program.py                torch.export to MIL, with the weights in place
operators.py              the custom ops in MIL
constants.py              quantized weights as compressed constants
layer_outputs.py          what leaves a layer has its name
package.py, joining.py    .mlpackage folders, and functions that share weights
programs.py               what the manifest tells an app of packages
masking.py                what attention adds to a score that may not count
"""

from typing import get_args

from nexus_edge.interfaces.quantizer import Encoding
from nexus_edge.interfaces.target import TargetInfo

TARGET = TargetInfo(
    name="coreml",
    title="Core ML",
    extra="coreml",
    flavour="static",
    encodings=frozenset(get_args(Encoding)),  # which of them an older system can hold, schemes.py says
    kv="state",
    deployments={"iOS17": 17, "iOS18": 18, "macOS14": 17, "macOS15": 18},  # -> the major version of iOS
    repeats_weights=True,
    sealed=True,
)
