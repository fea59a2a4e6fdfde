"""How codes are chosen: one file per quantizer, found by scanning, with its contract as `QUANTIZER`."""
