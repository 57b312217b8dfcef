package main

import (
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	ca "istio.io/api/security/v1alpha1"
	"istio.io/istio/pkg/workloadapi"
	"istio.io/istio/pkg/workloadapi/security"
)

// message is name -> number, kind and whether it repeats, for fields; name -> number for an enum's values.
type message = map[string]field

type field struct {
	Number   int    `json:"number"`
	Kind     string `json:"kind,omitempty"`
	Type     string `json:"type,omitempty"`
	Repeated bool   `json:"repeated,omitempty"`
}

// fields prints every message that can be reached from those that go over the wire.
func fields() error {
	found := map[string]message{}
	for _, root := range []protoreflect.MessageDescriptor{
		(&workloadapi.Address{}).ProtoReflect().Descriptor(),
		(&security.Authorization{}).ProtoReflect().Descriptor(),
		(&ca.IstioCertificateRequest{}).ProtoReflect().Descriptor(),
		(&ca.IstioCertificateResponse{}).ProtoReflect().Descriptor(),
		(&discovery.DeltaDiscoveryRequest{}).ProtoReflect().Descriptor(),
		(&discovery.DeltaDiscoveryResponse{}).ProtoReflect().Descriptor(),
	} {
		collect(root, found)
	}
	return print(found)
}

func collect(from protoreflect.MessageDescriptor, found map[string]message) {
	name := string(from.FullName())
	if _, known := found[name]; known {
		return
	}
	one := message{}
	found[name] = one
	for i := range from.Fields().Len() {
		each := from.Fields().Get(i)
		entry := field{Number: int(each.Number()), Kind: each.Kind().String(), Repeated: each.IsList() || each.IsMap()}
		if inner := each.Message(); inner != nil {
			entry.Type = string(inner.FullName())
			collect(inner, found)
		}
		if values := each.Enum(); values != nil {
			entry.Type = string(values.FullName())
			enumerate(values, found)
		}
		one[string(each.Name())] = entry
	}
}

func enumerate(from protoreflect.EnumDescriptor, found map[string]message) {
	one := message{}
	for i := range from.Values().Len() {
		value := from.Values().Get(i)
		one[string(value.Name())] = field{Number: int(value.Number())}
	}
	found[string(from.FullName())] = one
}
