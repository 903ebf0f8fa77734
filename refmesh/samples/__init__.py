"""Applications to try the mesh with. They know nothing of it."""
