package raftstore

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// quiet logs what repeats itself at most once per quietFor, per subject and text, with how often it was left out.
type quiet struct {
	mu   sync.Mutex
	seen map[string]*quietEntry
}

type quietEntry struct {
	until   time.Time
	skipped int
}

const (
	quietFor = 30 * time.Second
	quietMax = 256 // subjects kept: callers choose some of them
)

// log writes a line unless the same subject and why were logged lately.
func (q *quiet) log(write func(string, ...zap.Field), message, subject, why string, fields ...zap.Field) {
	q.mu.Lock()
	if q.seen == nil || len(q.seen) >= quietMax {
		q.seen = map[string]*quietEntry{}
	}
	key, now := message+"\x00"+subject+"\x00"+why, time.Now()
	e, ok := q.seen[key]
	if ok && now.Before(e.until) {
		e.skipped++
		q.mu.Unlock()
		return
	}
	if !ok {
		e = &quietEntry{}
		q.seen[key] = e
	}
	skipped := e.skipped
	*e = quietEntry{until: now.Add(quietFor)}
	q.mu.Unlock()
	fields = append(fields, zap.String("why", why))
	if skipped > 0 {
		fields = append(fields, zap.Int("attempt", skipped+1))
	}
	write(message, fields...)
}
