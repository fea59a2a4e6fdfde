"""The command line: one small file per command, found by its first line (`commands.py`)."""

from nexus_edge.cli.interrupts import interrupts

__all__ = ["main"]


def main() -> None:
    """Entry point of the console script; see `nexus_edge.cli.app.main`."""
    interrupts.install()  # before the imports, which take most of the first second
    from nexus_edge.cli.app import main as run

    run()
