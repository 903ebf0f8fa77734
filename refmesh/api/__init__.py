"""The resource kinds refmesh understands: parsing and validation, no I/O."""
