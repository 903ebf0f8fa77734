"""Injection: whether a pod joins the mesh (`policy`), what changes in it (`patch`), and who asks (`webhook`)."""
