"""The command line: one small file per command, found by its first line (`commands.py`)."""

from nexus_edge.cli.app import main

__all__ = ["main"]
