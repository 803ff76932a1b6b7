package conn

import (
	"fmt"
	"go/token"
	"net/http"
	"strings"
	"testing"
)

func TestEveryRefusalComesFromTheTable(t *testing.T) {
	literals(t, "Refusal", "refusal.go", func(at token.Position) {
		t.Errorf("%v: a Refusal that is built by hand; add a RefusalReason", at)
	})
}

// The test writes the row that is missing, ready to be copied.
func TestRefusalReasonsAreDocumented(t *testing.T) {
	doc := operations(t)
	seen := map[string]bool{}
	for _, r := range RefusalReasons {
		if seen[r.Name] || !stableName.MatchString(r.Name) || r.Format == "" || r.Explanation == "" ||
			(r.Code != 0) != (r.Status == http.StatusSwitchingProtocols) || r.Challenge != (r.Status == http.StatusUnauthorized) {
			t.Errorf("entry %+v", *r)
		}
		seen[r.Name] = true
		status := "–"
		if r.Status != 0 {
			status = fmt.Sprint(r.Status)
		}
		if r.Code != 0 {
			status += fmt.Sprintf(", then %d", r.Code)
		}
		if r.RetryAfter != 0 {
			status += fmt.Sprintf(", retry after %d s", r.RetryAfter)
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s |\n", r.Name, status, shown(r.Format), r.Explanation)
		if !strings.Contains(doc, row) {
			t.Errorf("docs/operations.md lacks\n%s", row)
		}
	}
}
