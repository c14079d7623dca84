package device

import (
	"fmt"
	"strconv"
	"strings"
)

// Answers is the set of final status codes that prove a device to be in service. The zero Answers are the default: everything from 200
// to 699 except 408, 503 and 504, because any other answer shows that a SIP stack is alive.
type Answers struct {
	codes [(lastCode - firstCode + 64) / 64]uint64
	given bool
}

const firstCode, lastCode = 200, 699

// ParseAnswers reads codes ("200"), ranges ("200-299") and classes ("2xx").
func ParseAnswers(list ...string) (Answers, error) {
	var a Answers
	for _, s := range list {
		low, high, err := parseRange(strings.TrimSpace(s))
		if err != nil {
			return Answers{}, err
		}
		for code := low; code <= high; code++ {
			a.codes[(code-firstCode)/64] |= 1 << ((code - firstCode) % 64)
		}
		a.given = true
	}
	return a, nil
}

func parseRange(s string) (low, high int, err error) {
	bad := fmt.Errorf("%q is neither a final status code (200 to 699), nor a range such as 200-299, nor a class such as 2xx", s)
	if class, ok := strings.CutSuffix(strings.ToLower(s), "xx"); ok {
		n, err := strconv.Atoi(class)
		if err != nil || n < 2 || n > 6 {
			return 0, 0, bad
		}
		return n * 100, n*100 + 99, nil
	}
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	low, errLow := strconv.Atoi(strings.TrimSpace(first))
	high, errHigh := strconv.Atoi(strings.TrimSpace(last))
	if errLow != nil || errHigh != nil || low < firstCode || high > lastCode || low > high {
		return 0, 0, bad
	}
	return low, high, nil
}

// Positive reports whether a final answer with that code counts as in service.
func (a Answers) Positive(code int) bool {
	switch {
	case code < firstCode || code > lastCode:
		return false
	case !a.given:
		return code != 408 && code != 503 && code != 504
	}
	return a.codes[(code-firstCode)/64]&(1<<((code-firstCode)%64)) != 0
}
