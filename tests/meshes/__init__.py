"""What tests know of other meshes: examples of every intent, and the definitions of their kinds."""
