"""The command line: one small file per command, listed in `COMMANDS`."""

from nexus_edge.cli.app import main

__all__ = ["main"]
