# make test installs what the tests need (Debian, as root or by sudo) and runs
# them all. The other targets install nothing.

# Debian packages that the tests use: peers that are not ours.
PACKAGES = c-icap ca-certificates chromium clamav-daemon curl gcc git knot libc-icap-mod-virus-scan libc6-dev libnet-ssleay-perl libsasl2-modules \
	libphp-phpmailer msmtp nmap node-nodemailer opendkim openssl php-cli postfix procps python3 python3-dkim rbldnsd redis-server redis-tools rspamd swaks unbound

# MTAs that tests run beside the one that is installed, since apt keeps one.
UNPACKED = exim4-daemon-light nullmailer

# How long make fuzz gives each target.
FUZZTIME = 60s

# What relay version and relay status say.
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo development)

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
REVIVE = github.com/mgechev/revive@v1.15.0

# Linters look at packages as the race detector has them: the tests need these anyway, and
# nothing is compiled twice. Without a C compiler there is no race detector.
RACE = $(shell test "$$(go env CGO_ENABLED)" = 0 || echo -race)
LINTER = nice -n 10 go run -exec 'env "GOFLAGS=$(GOFLAGS) $(RACE)"'

# In a clone of another owner git tells no version, and the build would fail.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

# A program with the race detector sleeps for a second when it ends; tests start some
# hundred.
export GORACE := atexit_sleep_ms=20 $(GORACE)

# An upstream that adds, drops and splits replies at random, against the true verdict on each message.
SOAKTIME = 10m

.PHONY: build test race fuzz soak outcomes bench bench-outlier bench-replies bench-readers lint vet linters check packages

build:
	go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/relay ./cmd/relay

# go test has a vet of its own, which vet has done by then, and more of it.
test: packages vet
	go test -race -vet=off -timeout 30m ./...

packages:
	@.ci/packages $(PACKAGES)
	@.ci/unpack .unpacked $(UNPACKED)

race:
	go test -race -count=1 -timeout 30m ./...

# Every fuzz target for FUZZTIME; what it finds stays under testdata/fuzz.
fuzz:
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; go test $$p -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s || exit 1; \
		done; \
	done

soak:
	go test ./upstream -run '^TestSoak$$' -count=1 -v -timeout 2h -soak $(SOAKTIME)

# What clients are told held against what receivers have, with a relay that is killed now
# and then; make test plays fewer.
outcomes:
	go test ./cmd/relay -run TestOutcomes -outcomes 10000 -v -count=1 -timeout 15m

bench:
	go run ./bench

bench-outlier:
	go run ./bench/outlier

# How well replies of receivers are understood that the model has not seen.
bench-replies:
	go run ./bench/replies

# What leaves, held against readers of other hands on a million values.
bench-readers:
	@.ci/packages postfix python3 rspamd
	@command -v npm >/dev/null || .ci/packages nodejs npm
	cd bench/readers && npm ci --ignore-scripts --no-audit --no-fund
	go run ./bench/readers

lint: vet linters

vet:
	go vet $(RACE) ./...
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt: run gofmt -w $$unformatted" >&2; exit 1; }

# They yield to tests that run beside them.
linters: vet
	$(LINTER) $(STATICCHECK) ./...
	$(LINTER) $(REVIVE) -config revive.toml -set_exit_status ./...

# What the example configuration means, and whether it is good.
check: lint
	go run ./cmd/relay check -config config.example.toml
