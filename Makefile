GO     ?= go
RUNS   ?= 10
REPORT ?= bin/bench.json
SIM    ?=
FUZZ   ?= 10s

VERSION ?= $(shell git describe --tags 2>/dev/null)
GOBUILD  = CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
GOTEST   = $(GO) test -race -shuffle=on -count=1

# These wait for kernels, disks and servers: they run one after the other, and not beside those that only compute.
TIMED = ./cmd/... ./contrib/... ./raftstore/... ./supervisor/hook/... ./supervisor/registrar ./supervisor/sipserver/... ./traffic ./vip/...

.PHONY: all build demo test setup check unit timed sim fuzz fmt lint bench-failover man clean
all: build

build:
	$(GOBUILD) -o bin/ ./cmd/understudy ./contrib/lab/cmd/lab

# A pair on this machine, broken three times. Half a minute; needs root or user namespaces.
demo:
	$(GOBUILD) -o bin/ ./cmd/understudy
	@bin/understudy demo

# Everything: the core, the simulation, the kernel and real SIP servers.
test: setup build check unit timed

# Installs what the tests need and this machine lacks (Debian, Ubuntu).
setup:
	@contrib/lab/setup.sh

check:
	@test -z "$$(gofmt -l .)" || { echo "make fmt would change:"; gofmt -l .; exit 1; }
	$(GO) vet ./...

unit:
	$(GOTEST) -timeout 10m $$($(GO) list ./... | grep -vxF "$$($(GO) list $(TIMED))")

# An ordinary user gets the kernel tests by user namespaces; the lab and the command move into their own.
timed:
	$(GO) build -race ./...
ifeq ($(shell id -u),0)
	$(GOTEST) -timeout 15m -p 1 $(TIMED)
else
	@unshare -Urnm true || { echo "make test: this user can't make user namespaces: run it as root, or allow them (README, Testing)"; exit 1; }
	$(GOTEST) -timeout 15m -p 1 -exec 'unshare -Urn' ./vip/...
	$(GOTEST) -timeout 15m -p 1 -exec 'unshare -Urm' ./raftstore/...
	$(GOTEST) -timeout 15m -p 1 $(filter-out ./vip/... ./raftstore/...,$(TIMED))
endif

# A million steps of whole pairs under faults, in virtual time. A failing seed is printed with its command: SIM="-replay 7".
sim:
	$(GO) run ./supervisor/sim $(SIM)

fuzz:
	@grep -ron --include='*_test.go' '^func Fuzz[A-Za-z]*' . | while IFS=: read -r file _ name; do \
		echo "$${name#func } in $${file%/*}"; $(GO) test -run '^$$' -fuzz "^$${name#func }$$" -fuzztime $(FUZZ) "$${file%/*}" || exit 1; done

fmt:
	gofmt -w .

lint:
	golangci-lint run --config contrib/lint/golangci.yml ./...

# Every fault, RUNS times, for understudy and keepalived on one lab: two hours for 10. As root; leave the machine alone meanwhile.
bench-failover: setup build
	bin/lab bench --runs $(RUNS) --report $(REPORT)

man: build
	bin/understudy man man

clean:
	rm -rf bin man
