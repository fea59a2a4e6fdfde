"""Names in a bundle's OpenVINO graphs and weights files that the exporter gives and others look for."""

CONSTANTS = ".constants"
"""Ends the name, in a weights file, of a graph's small constants: bytes that mean nothing without the graph."""

LARGEST_POSITION = "largest_position"
"""Operator of a decoder: int64 scalar, the largest position of a call, from which LongRoPE's list follows. A runtime
that feeds a sequence in pieces puts the largest position of the whole sequence in its place."""

BEAMS = "beam_idx"
"""Input of a decoder, int32 [batch]: which sequence of the call before each sequence continues."""
