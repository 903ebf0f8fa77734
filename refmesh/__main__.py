"""`python -m refmesh` is the command line."""

from refmesh.cli import main

if __name__ == "__main__":
    main()
