"""refmesh: a service mesh small enough to read in an afternoon. Python control plane, real Envoy data plane."""
