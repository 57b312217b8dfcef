// A client on the official Go SDK: `client URL`.
//
// Reads one JSON object per line, {"step", "do": "open"|"list"|"call"|"close", "tool", "arguments"}, does it on the one
// session, and prints one JSON line with the outcome. What went wrong is an outcome; only the end of input ends it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"os"
	"sort"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type order struct {
	Step, Do, Tool string
	Arguments      map[string]any
}

type outcome map[string]any

var session *mcp.ClientSession

func obey(o order) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch o.Do {
	case "open":
		client := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1.0.0"}, nil)
		// Not of the order's own context: a session lives on.
		opened, err := client.Connect(context.Background(), &mcp.StreamableClientTransport{Endpoint: os.Args[1]}, nil)
		session = opened
		return outcome{"outcome": "ok"}, err
	case "list":
		listed, err := session.ListTools(ctx, nil)
		if err != nil {
			return nil, err
		}
		names := []string{}
		for _, tool := range listed.Tools {
			names = append(names, tool.Name)
		}
		sort.Strings(names)
		return outcome{"outcome": "ok", "tools": names}, nil
	case "call":
		result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: o.Tool, Arguments: o.Arguments})
		if err != nil {
			return nil, err
		}
		kind, text := "ok", ""
		if result.IsError {
			kind = "tool_error"
		}
		if len(result.Content) > 0 {
			if content, ok := result.Content[0].(*mcp.TextContent); ok {
				text = content.Text
			}
		}
		return outcome{"outcome": kind, "text": text}, nil
	default:
		return outcome{"outcome": "ok"}, session.Close()
	}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var o order
		if json.Unmarshal(lines.Bytes(), &o) != nil {
			continue
		}
		said, err := obey(o)
		if err != nil {
			said = outcome{"outcome": "broken", "message": err.Error()}
			var wire *jsonrpc.Error
			if errors.As(err, &wire) {
				said = outcome{"outcome": "error", "code": wire.Code, "message": wire.Message}
			}
		}
		said["step"] = o.Step
		_ = json.NewEncoder(os.Stdout).Encode(said)
		if o.Do == "close" {
			return
		}
	}
}
