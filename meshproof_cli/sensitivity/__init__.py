"""`meshproof sensitivity`: measures the suite itself, on refmesh with one seeded defect at a time."""
