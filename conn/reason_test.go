package conn

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// literals calls f for each composite literal of the named type that has
// elements, in the source of this package. Files of tests and of the table
// itself, as given, are left out.
func literals(t *testing.T, typ, table string, f func(at token.Position)) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") || e.Name() == table {
			continue
		}
		file, err := parser.ParseFile(fset, e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.CompositeLit); ok && len(lit.Elts) > 0 {
				if id, ok := lit.Type.(*ast.Ident); ok && id.Name == typ {
					f(fset.Position(lit.Pos()))
				}
			}
			return true
		})
	}
}

func TestEveryCloseComesFromTheTable(t *testing.T) {
	literals(t, "Close", "reason.go", func(at token.Position) {
		t.Errorf("%v: a Close that is built by hand; add a Reason", at)
	})
}

var stableName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// The test writes the row that is missing, ready to be copied.
func TestReasonsAreDocumented(t *testing.T) {
	doc := operations(t)
	seen := map[string]bool{}
	for _, r := range Reasons {
		if seen[r.Name] || !stableName.MatchString(r.Name) || r.Format == "" || r.Explanation == "" || r.By == "" {
			t.Errorf("entry %+v", *r)
		}
		seen[r.Name] = true
		code := "its own"
		if r.Code != 0 {
			code = fmt.Sprint(r.Code)
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", r.Name, code, r.By, shown(r.Format), r.Explanation)
		if !strings.Contains(doc, row) {
			t.Errorf("docs/operations.md lacks\n%s", row)
		}
	}
}

func operations(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// shown is a format as it stands in the document.
func shown(format string) string {
	return strings.NewReplacer("%v", "…", "%s", "…", "%d", "…").Replace(format)
}
