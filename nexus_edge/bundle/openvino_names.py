"""Names in a bundle's OpenVINO graphs that the exporter gives and the runtime looks for."""

LARGEST_POSITION = "largest_position"
"""Operator of a decoder: int64 scalar, the largest position of a call, from which LongRoPE's list follows. A runtime
that feeds a sequence in pieces puts the largest position of the whole sequence in its place."""

BEAMS = "beam_idx"
"""Input of a decoder, int32 [batch]: which sequence of the call before each sequence continues."""
