# The only commands a person must know. `make` alone lists them.

CARGO ?= cargo

.PHONY: help
help:
	@echo 'make demo    build, and take a tour of every verb on the embedded cluster (KEEP=1 leaves it running)'
	@echo 'make test    all tests: unit, vectors, suite, command line, kubectl as judge'
	@echo 'make check   format, lint with warnings denied, every floor alone, documentation'
	@echo 'make bench   wsx beside kubectl: throughput, CPU, memory, start-up'
	@echo 'make judge   kubectl and wsx on a real API server and kubelet (needs Go; some minutes the first time)'
	@echo 'make soak    the tests that take minutes: pauses of 75 s, cuts everywhere and 1 GiB, in full'
	@echo 'make deny    licences and advisories (needs cargo-deny)'

.PHONY: demo
demo:
	$(CARGO) build --quiet -p kubectl-wsx -p wsx-tests --bins
	@KEEP='$(KEEP)' scripts/demo.sh

.PHONY: test
test:
	@scripts/judges.sh
	$(CARGO) test --workspace --quiet

.PHONY: check
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --quiet -p kubectl-wsx-core --no-default-features -- -D warnings
	$(CARGO) clippy --quiet -p kubectl-wsx-core --no-default-features --features session -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --workspace --no-deps
	sh -n scripts/demo.sh scripts/judges.sh tests/real/build.sh .ci/run
	python3 -c 'import ast; ast.parse(open("bench/run.py").read())'

.PHONY: bench
bench:
	$(CARGO) build --release --quiet -p kubectl-wsx -p wsx-tests --bins
	python3 bench/run.py $(BENCH)

.PHONY: judge
judge:
	tests/real/build.sh
	$(CARGO) test --quiet -p kubectl-wsx --test live judge:: -- --ignored --nocapture --test-threads=1

.PHONY: soak
soak:
	$(CARGO) test --workspace --quiet soak_ -- --ignored --test-threads=4

.PHONY: deny
deny:
	$(CARGO) deny check
