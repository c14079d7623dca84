package location

import "testing"

func TestMasked(t *testing.T) {
	for aor, want := range map[string]string{
		"1001@example.net": "1**1@example.net", "anna.muster@a": "a*********r@a", "12": "**", "": "**", "é1è@x": "é*è@x", "+4930123456": "+*********6",
	} {
		if got := Masked(aor); got != want {
			t.Errorf("%q: got %q, want %q", aor, got, want)
		}
	}
}
