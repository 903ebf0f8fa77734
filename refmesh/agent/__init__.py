"""The companion of one Envoy: identity, secrets, probes, start and drain.

It runs once in every pod of a mesh, so it is built for small memory and a quick start: threads and plain sockets, no
asyncio, no grpcio, no generated protobuf classes; whatever needs `cryptography` or TLS runs in a child that ends.
"""
