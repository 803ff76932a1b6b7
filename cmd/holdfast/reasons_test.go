package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// sources calls f with each file of this folder and its rooms that is no test.
func sources(t *testing.T, f func(path string, fset *token.FileSet, file *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err == nil {
			f(path, fset, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// isOfConn reports whether a literal has the type conn.name.
func isOfConn(lit *ast.CompositeLit, name string) bool {
	sel, ok := lit.Type.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "conn"
}

// Every text with which the gateway turns a charger away, or closes its
// connection, is in the tables of conn, from which docs/operations.md is
// checked. Only what a processor or an operator says is not.
func TestReasonsComeFromTheTables(t *testing.T) {
	sources(t, func(_ string, fset *token.FileSet, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if isOfConn(lit, "Refusal") && len(lit.Elts) > 0 {
				t.Errorf("%v: a Refusal that is built by hand; add a RefusalReason to conn/refusal.go", fset.Position(lit.Pos()))
			}
			if isOfConn(lit, "Close") {
				ast.Inspect(lit, func(n ast.Node) bool {
					if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
						t.Errorf("%v: a Close with a text of its own; add a Reason to conn/reason.go", fset.Position(text.Pos()))
					}
					return true
				})
			}
			return true
		})
	})
}
