package proc_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// A processor, and its tests, can be written without an import of unixipc: no
// exported function, field or constant of the SDK names it but an alias.
func TestAPINamesNoOtherPackage(t *testing.T) {
	for _, dir := range []string{".", "proctest"} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		files := token.NewFileSet()
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(files, name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, exposed := range exposedTypes(f) {
				ast.Inspect(exposed, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "unixipc" {
							t.Errorf("%s: unixipc.%s is in the API; use an alias", files.Position(s.Pos()), s.Sel.Name)
						}
					}
					return true
				})
			}
		}
	}
}

// exposedTypes returns the types that users of a file's package see.
func exposedTypes(f *ast.File) (types []ast.Node) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) {
				types = append(types, d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				s, ok := spec.(*ast.TypeSpec)
				if !ok || !s.Name.IsExported() || s.Assign.IsValid() {
					continue
				}
				fields, ok := s.Type.(*ast.StructType)
				if !ok {
					types = append(types, s.Type)
					continue
				}
				for _, field := range fields.Fields.List {
					if len(field.Names) == 0 || field.Names[0].IsExported() {
						types = append(types, field.Type)
					}
				}
			}
		}
	}
	return types
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	of := d.Recv.List[0].Type
	if p, ok := of.(*ast.StarExpr); ok {
		of = p.X
	}
	name, ok := of.(*ast.Ident)
	return ok && name.IsExported()
}
