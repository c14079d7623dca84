package lab

// UnderstudySocket is where a host's sidecar can be asked for its status, while the supervisor is one that Understudy made.
func (l *Lab) UnderstudySocket(host string) string {
	return (&understudy{sidecars: sidecars{lab: l}}).socket(host)
}
