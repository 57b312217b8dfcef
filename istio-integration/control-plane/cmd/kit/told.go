package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	// What clusters' endpoints are told in, to be written as JSON.
	_ "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// told prints what istiod tells a proxy of one resource by delta xDS, as a JSON list: `ztunnel` or `router`, in a namespace.
func told(address, proxy, namespace, kind, name string) error {
	metadata, err := structpb.NewStruct(map[string]any{
		"NAME": "told", "NAMESPACE": namespace, "CLUSTER_ID": "Kubernetes", "INSTANCE_IPS": "10.244.255.253", "ENABLE_HBONE": "true",
		"LABELS": map[string]any{"istio": "ingressgateway"},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	id := fmt.Sprintf("%s~10.244.255.253~told.%s~%s.svc.cluster.local", proxy, namespace, namespace)
	node := &core.Node{Id: id, Metadata: metadata}
	if err := stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: kind, ResourceNamesSubscribe: []string{name}}); err != nil {
		return err
	}
	answer, err := stream.Recv()
	if err != nil {
		return err
	}
	found := []json.RawMessage{}
	for _, resource := range answer.Resources {
		if resource.Name != name {
			continue
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(resource.Resource)
		if err != nil {
			return err
		}
		found = append(found, text)
	}
	return print(found)
}
