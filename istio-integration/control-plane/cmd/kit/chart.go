package main

import (
	"fmt"
	"log/slog"
	"os"
	"path"
	"sort"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
)

// chart prints what `helm template --include-crds --namespace NS` prints, CRDs first, files in the order of their names.
func chart(directory, namespace string, settings []string) error {
	// Helm tells of each symbolic link, and Istio's logging puts that on stdout.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	loaded, err := loader.Load(directory)
	if err != nil {
		return err
	}
	values := map[string]any{}
	for _, setting := range settings {
		if err := strvals.ParseInto(setting, values); err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
	}
	release := common.ReleaseOptions{Name: loaded.Name(), Namespace: namespace, IsInstall: true}
	rendering, err := util.ToRenderValues(loaded, values, release, common.DefaultCapabilities)
	if err != nil {
		return err
	}
	files, err := engine.Render(loaded, rendering)
	if err != nil {
		return err
	}
	for _, crd := range loaded.CRDObjects() {
		put(crd.Filename, string(crd.File.Data))
	}
	names := make([]string, 0, len(files))
	for name := range files {
		if path.Ext(name) == ".yaml" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		put(name, files[name])
	}
	return nil
}

func put(name, text string) {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "---"))
	if text != "" {
		fmt.Fprintf(os.Stdout, "---\n# Source: %s\n%s\n", name, text)
	}
}
