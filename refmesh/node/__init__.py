"""The agent of one node: puts the capture rules in force inside of the networks of the node's injected pods."""
