"""`python -m nexus_edge`: the command, also where the console script is not on the path."""

from nexus_edge.cli import main

if __name__ == "__main__":
    main()
