// An MCP server on the official Go SDK, over Streamable HTTP with sessions.
//
// Prints one JSON line with its address, then one for each tool that really ran: what a waypoint let through.
package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

var printing sync.Mutex

func print(line any) {
	printing.Lock()
	defer printing.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(line)
}

type byID struct {
	ID string `json:"id"`
}

type note struct {
	Owner string `json:"owner"`
	Text  string `json:"text"`
}

func tool[In any](server *mcp.Server, name, description string, say func(In) string) {
	run := func(_ context.Context, _ *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		print(map[string]any{"ran": name, "arguments": in})
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: say(in)}}}, nil, nil
	}
	mcp.AddTool(server, &mcp.Tool{Name: name, Description: description}, run)
}

func main() {
	server := mcp.NewServer(&mcp.Implementation{Name: "go-notes", Version: "1.0.0"}, nil)
	tool(server, "get_note", "Read one note", func(in byID) string { return "the note " + in.ID })
	tool(server, "create_note", "Write a new note", func(in note) string { return "created for " + in.Owner })
	tool(server, "delete_note", "Delete a note for good", func(in byID) string { return "deleted " + in.ID })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	routes := http.NewServeMux()
	routes.Handle("/mcp", handler)
	print(map[string]string{"listening": listener.Addr().String()})
	panic(http.Serve(listener, routes))
}
