module meshproof.local/meshes

go 1.26.0

require (
	github.com/cilium/cilium v1.20.2
	istio.io/api v1.31.4
	sigs.k8s.io/gateway-api v1.7.0
)
