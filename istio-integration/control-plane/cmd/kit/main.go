// Command kit is what the tests need from Go: Istio's own charts rendered, our chart rendered with Helm's engine,
// YAML as JSON, and the field numbers of Istio's messages.
package main

import (
	"fmt"
	"os"
)

const usage = `usage: kit COMMAND
  istio          the ambient profile's objects, as a JSON list
  crds           the CRDs of Istio and Gateway API that this module pins, as a JSON list
  chart DIR NS [KEY=VALUE..]   our Helm chart as YAML documents
  json FILE..    YAML documents as a JSON list
  listeners ADDRESS NS GATEWAY  what istiod sends its own waypoint of a Gateway, as a JSON list
  told ADDRESS PROXY NS TYPE NAME  what istiod tells a proxy (ztunnel, router) of one resource, as a JSON list
  fields         field numbers of the messages that the waypoint speaks, as JSON`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kit:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command\n%s", usage)
	}
	switch command, rest := args[0], args[1:]; command {
	case "istio":
		return istio()
	case "crds":
		return crds()
	case "chart":
		if len(rest) < 2 {
			return fmt.Errorf("chart takes a directory and a namespace")
		}
		return chart(rest[0], rest[1], rest[2:])
	case "json":
		return printJSON(rest)
	case "listeners":
		if len(rest) != 3 {
			return fmt.Errorf("listeners takes istiod's address, a namespace and a Gateway")
		}
		return listeners(rest[0], rest[1], rest[2])
	case "told":
		if len(rest) != 5 {
			return fmt.Errorf("told takes istiod's address, a kind of proxy, its namespace, a type and a name")
		}
		return told(rest[0], rest[1], rest[2], rest[3], rest[4])
	case "fields":
		return fields()
	default:
		return fmt.Errorf("unknown command %q\n%s", command, usage)
	}
}
