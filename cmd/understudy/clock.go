package main

import (
	"time"

	"github.com/understudy-sip/understudy/supervisor"
	"github.com/understudy-sip/understudy/supervisor/raw"
)

func clock() supervisor.Now { return supervisor.Now{Mono: raw.Clock(), Wall: time.Now()} }
