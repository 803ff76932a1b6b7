# make is the only door: CI and people call the same targets.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TOOL     = go tool -modfile=tools.mod
BUILD    = CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$(VERSION)"
FUZZTIME ?= 10s
PORT     ?= 8887
RACE      = $(shell tests/needed.sh race)
SKIP      = $(shell tests/needed.sh skip)

.PHONY: check lint build fmt fmt-check vet staticcheck cross test testssl fuzz run demo demo-bridge compat model soak bench bench-hold bench-relay bench-upgrade bench-storm bench-call bench-bridge bench-crash bench-fleet setup setup-bench man package e2e clean

check: lint test ## everything that must hold before a commit

lint: fmt-check vet staticcheck cross

build:
	$(BUILD) -o bin/ ./cmd/...
	cd cmd/holdfast-bridge && $(BUILD) -o ../../bin/ .

fmt:
	$(TOOL) gofumpt -w cmd conn relay proc unixipc tests

fmt-check:
	@out=$$($(TOOL) gofumpt -l cmd conn relay proc unixipc tests); \
	if [ -n "$$out" ]; then echo "not formatted (make fmt):"; echo "$$out"; exit 1; fi

vet:
	go vet ./...
	cd cmd/holdfast-bridge && go vet ./...
	cd tests && go vet ./...

staticcheck:
	$(TOOL) staticcheck ./...
	cd cmd/holdfast-bridge && go tool -modfile=../../tools.mod staticcheck ./...
	cd tests && go tool -modfile=../tools.mod staticcheck ./...

# Compiles everything for the other architecture, tests included.
cross:
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go vet ./...
	cd cmd/holdfast-bridge && GOOS=linux GOARCH=arm64 CGO_ENABLED=0 go vet ./...

setup: ## installs with apt what all the tests use; Go alone will do for most
	tests/needed.sh install

# Needs Go alone. What needs more is left out where that is missing, and the end tells;
# HOLDFAST_ALL=1 makes it an error.
test: ## all tests, with -race; the model test prints its number of schedules
	@tests/needed.sh modules
	@tests/needed.sh complete
	HOLDFAST_SCHEDULES=100 go test $(RACE) $(SKIP) ./...
	go test $(RACE) -count=1 -v -run '^TestModel$$' ./relay
	cd cmd/holdfast-bridge && go test $(RACE) ./...
	cd tests && go test $(RACE) -timeout 20m ./...
	@tests/needed.sh left-out

model: ## 20,000 schedules of the delivery logic: nothing lost, nothing stuck; and the models of the keeper, by spin
	HOLDFAST_SCHEDULES=20000 go test -count=1 -v -run '^TestModel$$' ./relay
	tests/model/run.sh

testssl: ## testssl.sh against a gateway: no vulnerability, only the intended suites
	cd tests && go test $(RACE) -count=1 -v -run TestTestssl ./tlsclients

fuzz: ## every fuzz target, FUZZTIME each
	@set -e; for pkg in $$(go list ./...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$target"; \
	    go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

run: build ## the gateway with the reference processor; Ctrl-C ends both
	@deploy/run.sh $(PORT)

demo: build ## processors killed and replaced under load; ends with a table of what the chargers noticed
	cd tests && go run ./cmd/demo -holdfast ../bin/holdfast -processor ../bin/processor

demo-bridge: build ## a central system killed, the bridge released, the gateway upgraded, chargers moved, under load: 30 s
	cd tests && go build -o ../bin/ ./cmd/central && go run ./cmd/demobridge -holdfast ../bin/holdfast -bridge ../bin/holdfast-bridge -central ../bin/central

compat: ## upgrades between the last release and this tree, under load, ws and wss; OLD=path: another release
ifdef OLD
	cd tests && HOLDFAST_OLD=$(abspath $(OLD)) go test $(RACE) -count=1 -v ./compat
else
	@mkdir -p bin && tests/release.sh $(CURDIR)/bin/holdfast-release; code=$$?; \
	if [ $$code = 3 ]; then echo "compat: left out"; \
	elif [ $$code != 0 ]; then exit $$code; \
	else $(MAKE) compat OLD=bin/holdfast-release; fi
endif

soak: build ## 100 upgrades in a row under load, while processors restart
	cd tests && go run ./cmd/soak -holdfast ../bin/holdfast

bench: bench-relay bench-hold bench-upgrade bench-storm bench-call bench-bridge bench-crash bench-fleet

bench-relay: build setup-bench ## rate, latency and CPU per message beside nginx and a bare echo server; then over wss beside nginx
	cd tests && go build -o ../bin/ ./bench/cmd/...
	bin/relaybench -holdfast bin/holdfast -echo bin/echo -load bin/load
	bin/relaybench -holdfast bin/holdfast -echo bin/echo -load bin/load -tls

bench-hold: build ## memory and CPU of 15,000 idle connections; then of 10,000 over wss
	cd tests && go build -o ../bin/ ./bench/cmd/...
	bin/holdbench -holdfast bin/holdfast -echo bin/echo
	bin/holdbench -holdfast bin/holdfast -echo bin/echo -tls -chargers 10000

bench-upgrade: build ## the pause that 15,000 and 1,500 chargers see; then 10,000 and 1,000 over wss; then with 200 amid a long message
	cd tests && go build -o ../bin/ ./bench/cmd/...
	bin/upgradebench -holdfast bin/holdfast -echo bin/echo
	bin/upgradebench -holdfast bin/holdfast -echo bin/echo -tls -chargers 10000,1000
	bin/upgradebench -holdfast bin/holdfast -echo bin/echo -chargers 100 -half 200 -length 12s
	bin/upgradebench -holdfast bin/holdfast -echo bin/echo -chargers 100 -half 200 -length 12s -tls

bench-storm: build ## what 200 held chargers notice while 10,000 connect over wss at once
	cd tests && go build -o ../bin/ ./bench/cmd/...
	bin/stormbench -holdfast bin/holdfast -echo bin/echo

bench-crash: build ## what a keeper costs a message and a charger, and what 15,000 chargers see when the gateway is killed; then 10,000 over wss
	cd tests && go build -o ../bin/ ./bench/cmd/...
	bin/relaybench -holdfast bin/holdfast -echo bin/echo -load bin/load -systems kept,holdfast
	bin/relaybench -holdfast bin/holdfast -echo bin/echo -load bin/load -systems kept,holdfast -tls
	bin/crashbench -holdfast bin/holdfast -echo bin/echo
	bin/crashbench -holdfast bin/holdfast -echo bin/echo -tls -chargers 10000

bench-bridge: build setup-bench ## a central system behind the bridge, beside the same behind nginx; memory of a charger in the bridge
	cd tests && go build -o ../bin/ ./bench/cmd/...
	bin/relaybench -holdfast bin/holdfast -echo bin/echo -load bin/load -bridge bin/holdfast-bridge
	bin/bridgehold -holdfast bin/holdfast -bridge bin/holdfast-bridge -echo bin/echo

bench-call: build ## round trip of a CALL to a charger, beside a direct WebSocket
	cd tests && go build -o ../bin/ ./bench/cmd/... && ../bin/callbench -holdfast ../bin/holdfast

bench-fleet: ## what one event costs, among few chargers and many, and among few waiting messages and many: the same
	go test -run '^$$' -bench BenchmarkFleet -benchtime 200x -count 3 ./relay
	go test -run '^$$' -bench BenchmarkAcknowledge -benchtime 300000x -count 3 ./relay

setup-bench:
	@command -v nginx >/dev/null || test -x /usr/sbin/nginx || { echo "nginx is missing: apt-get install nginx-light"; exit 1; }

man: ## the man pages, of the program's usage and options
	go test ./cmd/holdfast -run '^TestManPages$$' -update
	cd cmd/holdfast-bridge && go test . -run '^TestManPage$$' -update

package: ## deb and rpm for amd64 and arm64 in dist/; VERSION=1.2.3 for another than git describe's
	VERSION=$(if $(filter command line environment,$(origin VERSION)),$(VERSION)) deploy/package/build.sh

e2e: ## install, upgrade and removal on a real systemd, in a container, under load
	cd tests && HOLDFAST_E2E=$${HOLDFAST_E2E:-1} go test -count=1 -timeout 15m -v ./e2e

clean:
	rm -rf bin dist
