"""Gateway workloads: the proxies that let traffic into the cluster, and who puts them there."""
