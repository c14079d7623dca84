package supervisor

import (
	"net/netip"
	"strings"
	"unicode/utf8"
)

// clean makes s fit for a log line and a screen. It is idempotent.
func clean(s string, limit int) string {
	s = clip(s, 2*limit) // what is thrown away need not be looked at; a number cut here lies beyond limit
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // controls, new lines, turns of direction
			return ' '
		}
		return r
	}, s)
	for {
		next := clip(MaskNumbers(s), limit)
		if next == s { // the cut may have made a number of a date
			return s
		}
		s = next
	}
}

// clip cuts s to at most limit octets, between characters.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// MaskNumbers replaces all but the last three digits of what may be a phone number, seven digits or more, by asterisks; the length
// stays. Digits may be grouped by one of - . / and by brackets; by spaces only after + or 0 or as in 555 123 4567. Addresses, dates,
// times, durations with a fraction and event numbers such as 00-52027 stay. It is idempotent.
func MaskNumbers(s string) string {
	for {
		next := maskOnce(s)
		if next == s { // what was left of one number may be the beginning of another
			return s
		}
		s = next
	}
}

func maskOnce(s string) string {
	var out []byte
	for i := 0; i < len(s); {
		if !startsNumber(s, i) {
			i++
			continue
		}
		if n := harmless(s[i:]); n > 0 && (i == 0 || s[i-1] != '+') {
			i += n
			continue
		}
		n, digits := phone(s[i:])
		if digits >= 7 {
			if out == nil {
				out = []byte(s)
			}
			for k, left := i, digits; k < i+n && left > 3; k++ {
				if isDigit(s[k]) {
					out[k] = '*'
					left--
				}
			}
		}
		i += max(n, 1)
	}
	if out == nil {
		return s
	}
	return string(out)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func startsNumber(s string, i int) bool {
	return isDigit(s[i]) || (s[i] == '+' || s[i] == '(') && i+1 < len(s) && (isDigit(s[i+1]) || s[i+1] == '(')
}

// phone measures the number that s begins with, in octets and digits.
func phone(s string) (n, digits int) {
	spaced := s[0] == '+' || s[0] == '(' || strings.HasPrefix(s, "0") && len(s) > 1 && isDigit(s[1]) || northAmerican(s)
	for i := 0; i < len(s); {
		if isDigit(s[i]) {
			digits++
			i++
			n = i
			continue
		}
		gap := 0
		for i+gap < len(s) && gap < 3 && strings.IndexByte("+-./() ", s[i+gap]) >= 0 && (s[i+gap] != ' ' || spaced) {
			gap++
		}
		if gap == 0 || i+gap == len(s) || !isDigit(s[i+gap]) || i > 0 && strings.Contains(s[i:i+gap], "+") {
			break
		}
		i += gap
	}
	return n, digits
}

// northAmerican recognises 555 123 4567.
func northAmerican(s string) bool {
	return like(s, "ddd ddd dddd") && (len(s) == 12 || !isDigit(s[12]))
}

// like compares the beginning of s with a pattern in which d is a digit.
func like(s, pattern string) bool {
	if len(s) < len(pattern) {
		return false
	}
	for i := range len(pattern) {
		if pattern[i] == 'd' != isDigit(s[i]) || pattern[i] != 'd' && pattern[i] != s[i] {
			return false
		}
	}
	return true
}

// harmless measures the date, time, address, duration or event number that s begins with; 0 if there is none.
func harmless(s string) int {
	end := func(n int) bool { return n == len(s) || !isDigit(s[n]) }
	run := func(n int) int {
		for n < len(s) && isDigit(s[n]) {
			n++
		}
		return n
	}
	clock := func(n int) int { // 22:14[:03[.123]][Z| +0000|+02:00]
		if !like(s[n:], "dd:dd") {
			return 0
		}
		n += 5
		if like(s[n:], ":dd") {
			n += 3
		}
		if n+1 < len(s) && s[n] == '.' && isDigit(s[n+1]) && run(n+1)-n <= 10 {
			n = run(n + 1)
		}
		for _, zone := range [...]string{" +dddd", " -dddd", "+dd:dd", "-dd:dd", "+dddd", "-dddd"} {
			if like(s[n:], zone) && end(n+len(zone)) {
				return n + len(zone)
			}
		}
		return n
	}
	if like(s, "dddd-dd-dd") && end(10) && (s[0] == '1' || s[0] == '2') {
		if len(s) > 11 && (s[10] == 'T' || s[10] == ' ') {
			return max(10, clock(11))
		}
		return 10
	}
	if n := clock(0); n > 0 && end(n) {
		return n
	}
	if like(s, "dd-ddddd") && s[0] == '0' && end(8) && (len(s) == 8 || !strings.ContainsRune("-/ ", rune(s[8])) || len(s) == 9 || !isDigit(s[9])) {
		return 8
	}
	n := 0
	for n < len(s) && (isDigit(s[n]) || s[n] == '.') {
		n++
	}
	word := strings.TrimRight(s[:n], ".")
	if a, err := netip.ParseAddr(word); err == nil && a.Is4() {
		n = len(word)
		if n+1 < len(s) && s[n] == '/' && isDigit(s[n+1]) && run(n+1)-n <= 3 { // its prefix length
			return run(n + 1)
		}
		return n
	}
	if strings.Count(word, ".") == 1 && n == len(word) && n < len(s) && run(0) <= 6 && n-run(0) <= 10 { // Go's durations have nine digits after the point
		for _, unit := range [...]string{"s", "ms", "us", "µs", "ns", "%"} {
			if strings.HasPrefix(s[n:], unit) && (n+len(unit) == len(s) || strings.IndexByte(" ,;)]~", s[n+len(unit)]) >= 0) {
				return n
			}
		}
	}
	return 0
}
