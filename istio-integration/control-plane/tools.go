//go:build tools

// Package controlplane keeps the programs that the tests run in go.mod.
package controlplane

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "istio.io/istio/pilot/cmd/pilot-discovery"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)
