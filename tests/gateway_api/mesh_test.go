// Package gatewayapi makes the official Gateway API conformance suite a program of its own. What it runs is decided by
// the suite's flags; run.py gives them.
package gatewayapi

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) { conformance.RunConformance(t) }
