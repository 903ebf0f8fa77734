"""What the control plane says about itself: metrics, health and debug pages."""
