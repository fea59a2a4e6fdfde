"""The Core ML target: ML Programs with compressed constants, in packages of functions with fixed shapes.

family.py                 packages and their functions
schemes.py                which systems can hold which weights
program.py                torch.export to MIL, with the weights in place
operators.py              the custom ops in MIL
constants.py              quantized weights as compressed constants
layer_outputs.py          what leaves a layer has its name
package.py, joining.py    .mlpackage folders, and functions that share weights
metadata.py               what an app reads before it loads one
masking.py                what attention adds to a score that may not count
"""
