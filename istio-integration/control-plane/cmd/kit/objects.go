package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"istio.io/istio/manifests"
	"istio.io/istio/operator/pkg/render"
	"sigs.k8s.io/yaml"
)

type object = map[string]any

// istio prints what the ambient profile installs.
func istio() error {
	sets, _, err := render.GenerateManifest(nil, []string{"profile=ambient"}, false, nil, nil)
	if err != nil {
		return err
	}
	var objects []any
	for _, set := range sets {
		for _, manifest := range set.Manifests {
			objects = append(objects, manifest.Object)
		}
	}
	return print(objects)
}

// crds prints the CRDs: Istio's from its base chart, Gateway API's experimental channel from the pinned module.
func crds() error {
	text, err := fs.ReadFile(manifests.FS, "charts/base/files/crd-all.gen.yaml")
	if err != nil {
		return err
	}
	objects, err := documents(string(text))
	if err != nil {
		return err
	}
	directory := os.Getenv("GATEWAY_API")
	files, err := filepath.Glob(filepath.Join(directory, "config/crd/experimental/*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("GATEWAY_API=%q is not the directory of sigs.k8s.io/gateway-api (%v)", directory, err)
	}
	for _, file := range files {
		more, err := read(file)
		if err != nil {
			return err
		}
		for _, one := range more {
			if one["kind"] == "CustomResourceDefinition" {
				objects = append(objects, one)
			}
		}
	}
	return print(objects)
}

func printJSON(files []string) error {
	var objects []object
	for _, file := range files {
		more, err := read(file)
		if err != nil {
			return err
		}
		objects = append(objects, more...)
	}
	return print(objects)
}

func read(file string) ([]object, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	objects, err := documents(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return objects, nil
}

// documents takes a YAML stream apart.
func documents(text string) ([]object, error) {
	var objects []object
	for _, document := range strings.Split("\n"+text, "\n---") {
		var one object
		if err := yaml.Unmarshal([]byte(document), &one); err != nil {
			return nil, err
		}
		if len(one) > 0 {
			objects = append(objects, one)
		}
	}
	return objects, nil
}

func print(value any) error {
	encoder := json.NewEncoder(os.Stdout)
	return encoder.Encode(value)
}
