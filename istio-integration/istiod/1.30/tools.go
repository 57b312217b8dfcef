//go:build tools

// Package istiod keeps the program that the tests run in go.mod.
package istiod

import _ "istio.io/istio/pilot/cmd/pilot-discovery"
