"""From snapshot to proxies: pure functions that make xDS resources, and the delta ADS server that delivers them."""
