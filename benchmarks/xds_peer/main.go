// Command xds_peer is the other side of benchmarks/discovery_push.py: simulated proxies, and a go-control-plane server
// that serves the same resources as refmesh, to compare with.
//
//	xds_peer proxies ADDRESS COUNT     prints "ready", then for each change "acked <nanoseconds since 1970>"
//	xds_peer serve DIRECTORY           prints "port <n>"; each line on stdin "a" or "b" puts EDS.<line> in force
//
// DIRECTORY has one serialized DeltaDiscoveryResponse a type: CDS, LDS, RDS, EDS.a, EDS.b.
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

const nodeID = "sidecar~11.0.0.0~s0-0.bench~bench.svc.cluster.local"

func main() {
	log.SetFlags(0)
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "proxies":
		err = proxies(os.Args[2], os.Args[3])
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = serve(os.Args[2])
	default:
		err = fmt.Errorf("usage: xds_peer proxies ADDRESS COUNT | serve DIRECTORY")
	}
	if err != nil {
		log.Fatal(err)
	}
}

// tally counts the proxies that have everything, then the acknowledgements of each change.
type tally struct {
	count        int64
	ready, acked atomic.Int64
}

func (t *tally) isReady() {
	if t.ready.Add(1) == t.count {
		fmt.Println("ready")
	}
}

func (t *tally) isAcked() {
	if t.acked.Add(1)%t.count == 0 {
		fmt.Println("acked", time.Now().UnixNano())
	}
}

func proxies(address, number string) error {
	count, err := strconv.ParseInt(number, 10, 64)
	if err != nil || count < 1 {
		return fmt.Errorf("COUNT must be a positive number, not %q", number)
	}
	t := &tally{count: count}
	failed := make(chan error, count)
	for range count {
		go func() { failed <- proxy(address, t) }()
	}
	return <-failed
}

// proxy takes what a sidecar takes, in a sidecar's order, on a connection of its own, and acknowledges at once.
func proxy(address string, t *tally) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(context.Background())
	if err != nil {
		return err
	}
	first := &discovery.DeltaDiscoveryRequest{TypeUrl: resource.ClusterType, Node: &core.Node{Id: nodeID}}
	if err := stream.Send(first); err != nil {
		return err
	}
	if err := stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: resource.ListenerType}); err != nil {
		return err
	}
	seen := map[string]bool{}
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		kind := response.GetTypeUrl()
		ack := &discovery.DeltaDiscoveryRequest{TypeUrl: kind, ResponseNonce: response.GetNonce()}
		if err := stream.Send(ack); err != nil {
			return err
		}
		if kind == resource.ClusterType && !seen[kind] {
			wanted := &discovery.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType}
			for _, one := range response.GetResources() {
				if strings.HasPrefix(one.GetName(), "outbound|") {
					wanted.ResourceNamesSubscribe = append(wanted.ResourceNamesSubscribe, one.GetName())
				}
			}
			if err := stream.Send(wanted); err != nil {
				return err
			}
		}
		if kind == resource.EndpointType {
			if seen[kind] {
				t.isAcked()
			} else {
				t.isReady()
			}
		}
		seen[kind] = true
	}
}

func serve(directory string) error {
	caches := map[string]cache.Cache{}
	for name, kind := range map[string]string{
		"CDS": resource.ClusterType, "LDS": resource.ListenerType, "RDS": resource.RouteType,
	} {
		found, err := read(directory, name)
		if err != nil {
			return err
		}
		caches[kind] = cache.NewLinearCache(kind, cache.WithInitialResources(found))
	}
	variants := map[string]map[string]types.Resource{}
	for _, name := range []string{"a", "b"} {
		found, err := read(directory, "EDS."+name)
		if err != nil {
			return err
		}
		variants[name] = found
	}
	endpoints := cache.NewLinearCache(resource.EndpointType, cache.WithInitialResources(variants["a"]))
	caches[resource.EndpointType] = endpoints
	mux := &cache.MuxCache{
		Classify:      func(request *cache.Request) string { return request.GetTypeUrl() },
		ClassifyDelta: func(request *cache.DeltaRequest) string { return request.GetTypeUrl() },
		Caches:        caches,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	grpcServer := grpc.NewServer(grpc.MaxConcurrentStreams(1 << 20))
	discovery.RegisterAggregatedDiscoveryServiceServer(grpcServer, server.NewServer(context.Background(), mux, nil))
	go func() { log.Fatal(grpcServer.Serve(listener)) }()
	fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
	// What differs is known beforehand and handed to the cache ready made.
	different := map[string]map[string]types.Resource{"a": {}, "b": {}}
	for name, one := range variants["a"] {
		if other := variants["b"][name]; !proto.Equal(one, other) {
			different["a"][name], different["b"][name] = one, other
		}
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := endpoints.UpdateResources(different[lines.Text()], nil); err != nil {
			return err
		}
	}
	return nil
}

func read(directory, name string) (map[string]types.Resource, error) {
	raw, err := os.ReadFile(filepath.Join(directory, name))
	if err != nil {
		return nil, err
	}
	response := &discovery.DeltaDiscoveryResponse{}
	if err := proto.Unmarshal(raw, response); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	found := map[string]types.Resource{}
	for _, one := range response.GetResources() {
		message, err := one.GetResource().UnmarshalNew()
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, one.GetName(), err)
		}
		found[one.GetName()] = message
	}
	return found, nil
}
