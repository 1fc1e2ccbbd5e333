# The only commands a person must know. `make` alone lists them.

CARGO ?= cargo

.PHONY: help
help:
	@echo 'make demo    build, and take a tour of every verb on the embedded cluster (KEEP=1 leaves it running)'
	@echo 'make test    all tests: unit, vectors, suite, command line, and python, node, judge where they can run'
	@echo 'make check   format, lint with warnings denied, every floor alone, documentation'
	@echo 'make node    the Node module: build it, check its types, test it on this Node and the newest'
	@echo 'make python  build the Python module, check its types, test it'
	@echo 'make bench   wsx beside kubectl, and the modules beside other clients: throughput, CPU, memory, start-up'
	@echo 'make judge   kubectl and wsx on a real API server and kubelet (needs Go; some minutes the first time)'
	@echo 'make soak    the tests that take minutes: pauses of 75 s, cuts everywhere, 1 GiB, 1,000 reconnects of logs, in full'
	@echo 'make deny    licences and advisories (needs cargo-deny)'

.PHONY: demo
demo:
	$(CARGO) build --quiet -p kubectl-wsx -p wsx-tests --bins
	@KEEP='$(KEEP)' scripts/demo.sh

.PHONY: test
test:
	@scripts/judges.sh
	@scripts/lane.sh go real
	$(CARGO) test --workspace --quiet
	@scripts/lane.sh go judge
	@scripts/lane.sh python3 python
	@scripts/lane.sh node node

.PHONY: check
check:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	$(CARGO) clippy --quiet -p kubectl-wsx-core --no-default-features -- -D warnings
	$(CARGO) clippy --quiet -p kubectl-wsx-core --no-default-features --features session -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --workspace --no-deps
	for script in scripts/*.sh bench/modules/*.sh bindings-python/*.sh tests/real/*.sh; do sh -n $$script || exit 1; done
	bash -n .ci/run
	python3 -c 'import ast, sys; [ast.parse(open(file).read()) for file in sys.argv[1:]]' bench/*.py bench/modules/*.py

# The newest Node comes as a package, too; npm 11 would ask about the install script of `node` itself.
NODE_NEWEST = 26.10.0
NODE_PACKAGE = node-$(shell node -p 'process.platform + "-" + process.arch' 2>/dev/null)
NODE_FOLDER = $(CURDIR)/target/node/$(NODE_NEWEST)
NODE_TEST = --test --test-concurrency=3 --test-reporter=dot

.PHONY: node
node: bindings-node/node_modules/.package-lock.json $(NODE_FOLDER)/node_modules
	$(CARGO) build --quiet -p wsx-tests --bins
	cd bindings-node && npm run --silent build
	cd bindings-node && for node in node $(NODE_FOLDER)/node_modules/$(NODE_PACKAGE)/bin/node; do \
		echo "node $$($$node --version)" && $$node $(NODE_TEST) test/*.test.mjs || exit 1; done

bindings-node/node_modules/.package-lock.json: bindings-node/package-lock.json
	cd bindings-node && npm ci --silent
	@touch $@

$(NODE_FOLDER)/node_modules:
	npm install --silent --no-save --prefix $(NODE_FOLDER) $(NODE_PACKAGE)@$(NODE_NEWEST)

# Built by cargo as everything else is, so that nothing is compiled twice; wheels are built by maturin.
PYTHON_VENV := $(or $(CARGO_TARGET_DIR),target)/python
.PHONY: python
python: $(PYTHON_VENV)/installed
	$(CARGO) build --quiet --workspace
	bindings-python/test.sh '$(PYTHON_VENV)'

$(PYTHON_VENV)/installed: bindings-python/requirements.txt
	python3 -m venv --clear '$(PYTHON_VENV)'
	'$(PYTHON_VENV)/bin/pip' install --quiet --disable-pip-version-check -r $<
	touch $@

.PHONY: bench
bench:
	$(CARGO) build --release --quiet -p kubectl-wsx -p wsx-tests --bins
	python3 bench/run.py $(BENCH)
	@scripts/lane.sh go real
	python3 bench/forward.py $(filter --gate,$(BENCH))
	@$(MAKE) --no-print-directory bench-modules MODULES='$(or $(MODULES),$(filter --gate,$(BENCH)))'

.PHONY: bench-modules
bench-modules:
	$(CARGO) build --release --quiet -p wsx-tests --bins
	bench/modules/prepare.sh
	python3 bench/modules.py $(MODULES)

# Real Kubernetes, and the tunnel that some tests put before the embedded one.
.PHONY: real
real:
	tests/real/build.sh

.PHONY: judge
judge: real
	$(CARGO) test --quiet -p kubectl-wsx --test live -- --ignored --skip soak_ --nocapture --test-threads=1

.PHONY: soak
soak:
	$(CARGO) test --workspace --quiet soak_ -- --ignored --show-output --test-threads=4

.PHONY: deny
deny:
	$(CARGO) deny check
