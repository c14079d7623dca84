package vip

import "github.com/understudy-sip/understudy/supervisor"

// reporter decides what is worth telling: every desired state when it is reached, every problem when it appears or changes, and its end
// when the desired state is reached. So a report without error always says that the desired state is reached.
type reporter struct {
	addr, announce error // standing problems
	owed           bool  // the desired state changed and nobody was told yet that it is reached
	held           bool  // as told last
	problem        string
}

func (t *reporter) due(r supervisor.AddressReport, reached bool) bool {
	if text(r.Err) != t.problem && (reached || r.Err != nil) {
		return true
	}
	return reached && (t.owed || r.Held != t.held)
}

func (t *reporter) told(r supervisor.AddressReport, reached bool) {
	t.held, t.problem = r.Held, text(r.Err)
	if reached {
		t.owed = false
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
