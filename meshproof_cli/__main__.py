"""`python -m meshproof_cli` is the same as `meshproof`."""

from meshproof_cli.main import main

main()
