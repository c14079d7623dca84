package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/status"
)

// screenWidth is how long a line may be that could become any length.
const screenWidth = 100

// factsLines are what the sensors of the asked node know, one subject a line, and only what there is to say.
func factsLines(s status.Snapshot) []string {
	var lines []string
	add := func(subject, text string) {
		if text != "" {
			lines = append(lines, clip(printable(subject+": "+text), screenWidth))
		}
	}
	here := " at " + string(s.Node)
	add("Traffic"+here, trafficText(s))
	add("Devices", devicesText(s))
	add("Silence", silenceText(s))
	for _, n := range s.NICs {
		add("Interface"+here, nicText(n, s.At))
	}
	add("SIP socket"+here, socketText(s))
	return lines
}

// clip cuts a text to a width.
func clip(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return strings.TrimRight(string([]rune(text)[:max(0, width-3)]), " ,;") + "..."
}

func trafficText(s status.Snapshot) string {
	t := s.Traffic
	if t == nil {
		return ""
	}
	parts := []string{fmt.Sprintf("in %d/s, out %d/s", t.InPerS, t.OutPerS), "nothing came in yet"}
	if t.LastInMS >= 0 {
		parts[1] = "last in " + span(t.LastInMS) + " ago"
	}
	if t.AnswerRatio != nil {
		parts = append(parts, fmt.Sprintf("%.1f %% answered", *t.AnswerRatio*100))
	}
	for _, c := range []struct {
		n    uint64
		what string
	}{{t.Unanswered, "unanswered"}, {t.Dropped, "not observed"}, {t.ParseErrors, "malformed"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	text := strings.Join(parts, ", ")
	if t.Source == status.SourceHEP {
		text += " (by HEP)"
	}
	return text
}

func devicesText(s status.Snapshot) string {
	checked, unconfirmed := 0, 0
	var out []string
	for _, d := range s.Devices {
		switch {
		case d.State == status.DeviceUnchecked:
			continue
		case d.Out():
			out = append(out, outText(d, s.At))
		case !d.Confirmed:
			unconfirmed++
		}
		checked++
	}
	switch {
	case len(s.Devices) == 0:
		return ""
	case checked == 0:
		return fmt.Sprintf("%d, none is checked from here", len(s.Devices))
	}
	text := fmt.Sprintf("%d of %d in service", checked-len(out), checked)
	if unconfirmed > 0 {
		text += fmt.Sprintf(", %d not confirmed yet", unconfirmed)
	}
	return text + listed(out, screenWidth-len("Devices: ")-len(text))
}

func outText(d status.Device, now time.Time) string {
	text := d.Name + " " + map[status.DeviceState]string{status.DeviceFailed: "failed", status.DeviceOutOfService: "out"}[d.State]
	if d.Since != nil {
		text += " for " + status.Span(now.Sub(*d.Since))
	}
	if d.Text != "" {
		text += ", " + d.Text
	}
	return text
}

// listed names as many as there is room for, the first in any case, and counts the others.
func listed(items []string, room int) string {
	text := ""
	for i, item := range items {
		separator, rest := "; ", ""
		if i == 0 {
			separator = ": "
		}
		if more := len(items) - i - 1; more > 0 {
			rest = fmt.Sprintf("; and %d more", more)
		}
		left := room - utf8.RuneCountInString(text+separator+rest)
		switch {
		case i == 0:
			text = separator + clip(item, left)
		case utf8.RuneCountInString(item) > left:
			return text + fmt.Sprintf("; and %d more", len(items)-i)
		default:
			text += separator + item
		}
	}
	return text
}

func silenceText(s status.Snapshot) string {
	q := s.Silence
	if q == nil || !q.Watched {
		return ""
	}
	limit := span(int64(q.Factor) * q.PeriodMS)
	if q.Factor > 1 {
		limit += fmt.Sprintf(" (%s x%d)", span(q.PeriodMS), q.Factor)
	}
	switch {
	case q.NextMS == 0:
		return fmt.Sprintf("nothing for %s and every device is out: the role is to move after %s", span(q.QuietMS), limit)
	case q.NextMS > 0:
		return fmt.Sprintf("nothing for %s and every device is out: the role moves in %s, after %s", span(q.QuietMS), span(q.NextMS), limit)
	case q.AllOut:
		return fmt.Sprintf("every device is out: as primary %s would give the role up after %s", s.Node, limit)
	default:
		return fmt.Sprintf("would move the role after %s, but a device is in service", limit)
	}
}

func nicText(n status.NIC, now time.Time) string {
	if n.Up && !n.Flapping {
		return ""
	}
	text := n.Name
	if n.Link != "" && n.Link != n.Name {
		text += " (" + n.Link + ")"
	}
	if n.Up {
		text += " flaps"
	} else {
		text += " DOWN"
	}
	if n.Since != nil && !n.Up {
		text += " for " + status.Span(now.Sub(*n.Since))
	}
	if n.Text != "" {
		text += ": " + n.Text
	}
	return text
}

// socketText is empty while the server reads what it gets.
func socketText(s status.Snapshot) string {
	q := s.Socket
	switch {
	case q == nil:
		return ""
	case !q.Listening:
		return "nothing has been listening for " + span(q.MissingMS)
	}
	var parts []string
	if q.ReceiveBuffer > 0 && 4*q.ReceiveQueue >= q.ReceiveBuffer {
		parts = append(parts, fmt.Sprintf("%d %% full", 100*q.ReceiveQueue/q.ReceiveBuffer))
	}
	if q.Backlog > 0 {
		parts = append(parts, fmt.Sprintf("%d connections wait", q.Backlog))
	}
	if q.Drops > 0 {
		parts = append(parts, fmt.Sprintf("%d dropped by the kernel so far", q.Drops))
	}
	return strings.Join(parts, ", ")
}

func span(ms int64) string { return status.Span(time.Duration(ms) * time.Millisecond) }

// alarmsShown is how many alarms fit on a screen with all the rest.
const alarmsShown = 10

// alarmsTable lists the active alarms, the gravest first; empty if there are none.
func alarmsTable(s status.Snapshot) string {
	if len(s.Alarms) == 0 {
		return ""
	}
	shown := s.Alarms[:min(alarmsShown, len(s.Alarms))]
	cared := slices.ContainsFunc(shown, func(a status.Alarm) bool { return careCell(a) != "-" })
	drawn := drawTable(func(row func(...string)) {
		line := func(severity, condition, object, age, care, text string) {
			if cared {
				row(severity, condition, object, age, care, text)
			} else {
				row(severity, condition, object, age, text)
			}
		}
		line("ALARM", "CONDITION", "OBJECT", "AGE", "CARE", "TEXT")
		for _, a := range shown {
			line(severityWord(a.Severity), a.Condition, a.Object, ageCell(a, s.At), careCell(a), a.Text)
		}
	})
	lines := strings.Split(strings.TrimSuffix(drawn, "\n"), "\n")
	for i := range lines {
		lines[i] = clip(lines[i], screenWidth)
	}
	if more := len(s.Alarms) - alarmsShown; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more: `understudy alarm list`", more))
	}
	return strings.Join(lines, "\n") + "\n"
}

func severityWord(s supervisor.Severity) string {
	if s.Rank() >= supervisor.SeverityMajor.Rank() {
		return strings.ToUpper(string(s))
	}
	return string(s)
}

func ageCell(a status.Alarm, now time.Time) string {
	age := status.Span(now.Sub(a.First))
	if a.Count > 1 {
		age += fmt.Sprintf(" x%d", a.Count)
	}
	return age
}

// careCell is who takes care of an alarm.
func careCell(a status.Alarm) string {
	if a.Pending {
		return "only here"
	}
	return dash(a.AckedBy)
}
