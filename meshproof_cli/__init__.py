"""The command line `meshproof`: thin commands over the rooms, and `run`, the whole job."""
