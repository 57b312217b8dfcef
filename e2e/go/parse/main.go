// Reads rows {"body", "method", "tool", "arguments"} as JSON lines (body in base64) and says for each whether the
// official Go SDK finds exactly that call in the body: {"fault": null} or why not.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type row struct {
	Body      []byte
	Method    string
	Tool      *string
	Arguments *string
}

// numbers keeps the text of numbers, as two values that differ in it only are not the same call.
func numbers(text []byte) (any, error) {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err := decoder.Decode(&value)
	return value, err
}

func fault(r row) error {
	message, err := jsonrpc.DecodeMessage(r.Body)
	if err != nil {
		return err
	}
	request, ok := message.(*jsonrpc.Request)
	if !ok {
		return fmt.Errorf("a %T", message)
	}
	if request.Method != r.Method {
		return fmt.Errorf("method %q", request.Method)
	}
	if r.Tool == nil {
		return nil
	}
	var params mcp.CallToolParamsRaw
	if err := json.Unmarshal(request.Params, &params); err != nil {
		return err
	}
	if params.Name != *r.Tool {
		return fmt.Errorf("name %q", params.Name)
	}
	if r.Arguments == nil {
		if params.Arguments != nil {
			return fmt.Errorf("arguments %s", params.Arguments)
		}
		return nil
	}
	got, err := numbers(params.Arguments)
	if err != nil {
		return err
	}
	want, err := numbers([]byte(*r.Arguments))
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("arguments %s", params.Arguments)
	}
	return nil
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var r row
		err := json.Unmarshal(lines.Bytes(), &r)
		if err == nil {
			err = fault(r)
		}
		var said any
		if err != nil {
			said = err.Error()
		}
		_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"fault": said})
	}
}
