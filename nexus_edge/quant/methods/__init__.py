"""How codes are chosen; one file per quantizer."""
