// Package tests holds the tests of the source tree itself; those of the library in C and C++ are in the folders.
package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/libdmtr/libdmtr/"

// goPackage is what `go list -json` says about a package.
type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
	CgoFiles                           []string
}

// mayImport says whether the package from may import the package to, both named within the module.
func mayImport(from, to string, inTest bool) bool {
	if to == "libos/libostest" {
		return inTest && (strings.HasPrefix(from, "libos/") || strings.HasPrefix(from, "apps/"))
	}
	if strings.HasPrefix(to, "runtime/") {
		return true
	}
	switch strings.Split(from, "/")[0] {
	case "capi":
		return strings.HasPrefix(to, "libos/")
	case "apps":
		return strings.HasPrefix(to, "libos/") && !strings.HasPrefix(to, "libos/internal/")
	case "libos":
		return strings.HasPrefix(to, "libos/internal/") || leaf(from) == leaf(to)
	}
	return false
}

// leaf is the folder of a libOS: "libos/x" of "libos/x/y".
func leaf(name string) string {
	parts := append(strings.Split(name, "/"), "")
	return parts[0] + "/" + parts[1]
}

// mayUseC says whether a file of the package may import "C".
func mayUseC(name, file string) bool {
	return name == "capi" || name == "runtime/mem" || strings.HasPrefix(name, "libos/") && strings.HasSuffix(file, "_cgo.go")
}

// violations names what the package does against the import rules.
func violations(p goPackage) []string {
	var found []string
	name := strings.TrimPrefix(p.ImportPath, module)
	check := func(imports []string, inTest bool) {
		for _, imported := range imports {
			to, own := strings.CutPrefix(imported, module)
			if own && to != name && !mayImport(name, to, inTest) {
				found = append(found, fmt.Sprintf("%s imports %s", name, to))
			}
		}
	}
	check(p.Imports, false)
	check(p.TestImports, true)
	check(p.XTestImports, true)
	for _, file := range p.CgoFiles {
		if !mayUseC(name, file) {
			found = append(found, fmt.Sprintf("%s imports C", path.Join(name, file)))
		}
	}
	return found
}

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,CgoFiles", module+"...")
	out, err := cmd.Output()
	require.NoError(t, err)
	packages := 0
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; packages++ {
		var p goPackage
		err := decoder.Decode(&p)
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		assert.Empty(t, violations(p))
	}
	assert.Greater(t, packages, 5, "go list found too few packages")
}

func TestImportRules(t *testing.T) {
	own := func(names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, module+name)
		}
		return paths
	}
	allowed := []goPackage{
		{ImportPath: module + "capi", Imports: append(own("runtime/engine", "libos/posix"), "C"), CgoFiles: []string{"main.go"}},
		{ImportPath: module + "libos/a", Imports: own("runtime/abi", "libos/internal/framing", "libos/a/part"), TestImports: own("libos/libostest")},
		{ImportPath: module + "apps/x", Imports: own("libos/a/part", "runtime/mem"), TestImports: own("libos/libostest")},
		{ImportPath: module + "libos/a/part", XTestImports: own("libos/a/part", "libos/libostest"), CgoFiles: []string{"dev_cgo.go"}},
		{ImportPath: module + "libos/internal/x", Imports: own("libos/internal/y", "runtime/mem")},
		{ImportPath: module + "runtime/mem", CgoFiles: []string{"mem.go"}, Imports: own("runtime/abi")},
	}
	for _, p := range allowed {
		assert.Empty(t, violations(p), p.ImportPath)
	}
	forbidden := []goPackage{
		{ImportPath: module + "capi", Imports: own("libos/libostest")},
		{ImportPath: module + "capi", Imports: own("tests")},
		{ImportPath: module + "apps/x", Imports: own("libos/internal/uring")},
		{ImportPath: module + "apps/x", Imports: own("capi")},
		{ImportPath: module + "libos/a", Imports: own("libos/b")},
		{ImportPath: module + "libos/a", TestImports: own("libos/b")},
		{ImportPath: module + "libos/a", Imports: own("libos/libostest")},
		{ImportPath: module + "libos/a", Imports: own("capi")},
		{ImportPath: module + "libos/internal/x", Imports: own("libos/a")},
		{ImportPath: module + "libos/libostest", Imports: own("libos/a")},
		{ImportPath: module + "runtime/engine", Imports: own("libos/a")},
		{ImportPath: module + "runtime/engine", XTestImports: own("libos/libostest")},
		{ImportPath: module + "runtime/engine", Imports: own("libos/internal/framing")},
		{ImportPath: module + "runtime/engine", CgoFiles: []string{"engine_cgo.go"}},
		{ImportPath: module + "libos/a", CgoFiles: []string{"net.go"}},
	}
	for _, p := range forbidden {
		assert.Len(t, violations(p), 1, "%+v", p)
	}
}
