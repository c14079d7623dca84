package location

import (
	"strings"
	"unicode/utf8"
)

// Masked is an address of record as it may stand in a log: of the user no more than the first and the last character.
func Masked(aor string) string {
	user, host, hasHost := strings.Cut(aor, "@")
	first, n := utf8.DecodeRuneInString(user)
	last, m := utf8.DecodeLastRuneInString(user)
	if len(user) <= n+m {
		user = "**"
	} else {
		user = string(first) + strings.Repeat("*", utf8.RuneCountInString(user)-2) + string(last)
	}
	if hasHost {
		return user + "@" + host
	}
	return user
}
