package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	// Every filter that a listener may hold, to be written as JSON.
	_ "istio.io/api/envoy/extensions/stats"
	_ "istio.io/istio/pkg/config/xds"
)

// listeners prints what istiod sends its own waypoint, an Envoy: the listeners of one Gateway's proxy, as a JSON list.
func listeners(address, namespace, gateway string) error {
	labels := map[string]any{"gateway.networking.k8s.io/gateway-name": gateway}
	// Without LABELS, and of a pod that istiod does not know, there would be no policy in what it sends.
	metadata, err := structpb.NewStruct(map[string]any{
		"NAME": "compare", "NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes", "INSTANCE_IPS": "10.244.255.254", "LABELS": labels,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).StreamAggregatedResources(ctx)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("waypoint~10.244.255.254~compare.%s~%s.svc.cluster.local", namespace, namespace)
	kind := "type.googleapis.com/envoy.config.listener.v3.Listener"
	node := &core.Node{Id: id, Metadata: metadata}
	if err := stream.Send(&discovery.DiscoveryRequest{Node: node, TypeUrl: kind}); err != nil {
		return err
	}
	answer, err := stream.Recv()
	if err != nil {
		return err
	}
	found := []json.RawMessage{}
	for _, resource := range answer.Resources {
		one := &listener.Listener{}
		if err := resource.UnmarshalTo(one); err != nil {
			return err
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(one)
		if err != nil {
			return err
		}
		found = append(found, text)
	}
	return print(found)
}
