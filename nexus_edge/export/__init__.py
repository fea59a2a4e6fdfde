"""From graphs to what a runtime loads: one folder per target."""
