package sip

// kindOf knows the headers that this package looks at, by their long and compact names.
func kindOf[T []byte | string](name T) kind {
	switch len(name) {
	case 1:
		switch lower(name[0]) {
		case 'v':
			return via
		case 'f':
			return from
		case 't':
			return to
		case 'i':
			return callID
		case 'm':
			return contact
		case 'l':
			return contentLength
		}
	case 2:
		return ifSame(name, "to", to)
	case 3:
		return ifSame(name, "via", via)
	case 4:
		if lower(name[0]) == 'f' {
			return ifSame(name, "from", from)
		}
		return ifSame(name, "cseq", cseq)
	case 7:
		switch lower(name[2]) {
		case 'l':
			return ifSame(name, "call-id", callID)
		case 'n':
			return ifSame(name, "contact", contact)
		case 'p':
			return ifSame(name, "expires", expires)
		}
	case 11:
		return ifSame(name, "retry-after", retryAfter)
	case 14:
		return ifSame(name, "content-length", contentLength)
	}
	return other
}

func ifSame[T []byte | string](name T, word string, k kind) kind {
	if sameFold(name, word) {
		return k
	}
	return other
}

// fullName gives the long name for a compact one (RFC 3261 7.3.3 and the IANA registry).
func fullName(name string) string {
	if len(name) != 1 {
		return name
	}
	switch lower(name[0]) {
	case 'a':
		return "accept-contact"
	case 'b':
		return "referred-by"
	case 'c':
		return "content-type"
	case 'd':
		return "request-disposition"
	case 'e':
		return "content-encoding"
	case 'f':
		return "from"
	case 'i':
		return "call-id"
	case 'j':
		return "reject-contact"
	case 'k':
		return "supported"
	case 'l':
		return "content-length"
	case 'm':
		return "contact"
	case 'n':
		return "identity-info"
	case 'o':
		return "event"
	case 'r':
		return "refer-to"
	case 's':
		return "subject"
	case 't':
		return "to"
	case 'u':
		return "allow-events"
	case 'v':
		return "via"
	case 'x':
		return "session-expires"
	case 'y':
		return "identity"
	}
	return name
}

// lists are the headers with a comma between their elements. Others may have one in a value: Date, Subject, WWW-Authenticate.
var lists = [...]string{
	"via", "contact", "route", "record-route", "path", "service-route", "allow", "supported", "require", "proxy-require", "unsupported",
	"allow-events", "accept", "accept-contact", "accept-encoding", "accept-language", "alert-info", "call-info", "content-encoding",
	"content-language", "diversion", "error-info", "history-info", "in-reply-to", "p-asserted-identity", "p-associated-uri",
	"p-preferred-identity", "privacy", "reason", "reject-contact", "warning",
}

func isList(name string) bool {
	name = fullName(name)
	for _, l := range lists {
		if sameFold(name, l) {
			return true
		}
	}
	return false
}
