"""Judges a service mesh by traffic: mesh-neutral intents, adapters, checks with pure judges, and the pytest plugin.

`pytest --pyargs conformance --mesh NAME` runs it. Nothing is imported here: every pytest loads the plugin.
"""
