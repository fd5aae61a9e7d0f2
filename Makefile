# make demo: train on the ORL faces, calibrate, test, verify two pairs.
# make test: lint, types, tests.
# make docs: the documentation as a site.
# make notebooks: run them, and save them with what they show.
# make package: wheel and sdist, and the demo from the installed wheel.
PYTHON ?= python3
BIN := .venv/bin
# The crop cache of demo and tests stays inside the checkout.
export SIAMESE_CACHE ?= $(CURDIR)/.cache

.PHONY: demo test test-docs test-slow docs notebooks torture lint package benchmarks baselines clean

demo: .venv/demo.stamp
	$(BIN)/siamese demo

# One thread per test process: two processes of two threads each on two cores wait for each other
# most of the time.
test: export OMP_NUM_THREADS = 1
# Hundreds of programs that tests start would compile the package anew.
test test-slow: export PYTHONDONTWRITEBYTECODE =
test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not documents"

# Every example of the documentation that can run here.
test-docs: export OMP_NUM_THREADS = 1
test-docs: export PYTHONDONTWRITEBYTECODE =
test-docs: .venv/test.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal -m documents

# The documentation as a site, in site/: no broken link or anchor. It opens without a server.
# (With --quiet, MkDocs would not count its warnings.)
docs: export NO_MKDOCS_2_WARNING = 1
docs: .venv/test.stamp
	$(BIN)/python docs/tools/draw_networks.py --check
	$(BIN)/mkdocs build --strict

# Ten minutes of one core; what they show is saved in the files.
notebooks: export OMP_NUM_THREADS = 1
notebooks: .venv/test.stamp
	$(BIN)/python notebooks/run.py

test-slow: export OMP_NUM_THREADS = 1
test-slow: .venv/test.stamp
	$(BIN)/python -m pytest -m slow
	SIAMESE_THOROUGH=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m random_cases

# Killed runs, full disks, damaged and hostile files: an hour of two cores; prints counts.
torture: export OMP_NUM_THREADS = 1
torture: .venv/test.stamp
	$(BIN)/python benchmarks/torture/kills.py
	$(BIN)/python benchmarks/torture/images.py --bombs
	$(BIN)/python benchmarks/torture/files.py --cases 1000
	$(BIN)/python benchmarks/torture/memory.py

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Wheel and sdist into dist/; the wheel alone, in an environment of its own, runs the demo.
package: .venv/test.stamp
	rm -rf dist .venv/package
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv .venv/package
	.venv/package/bin/pip install --quiet --disable-pip-version-check -c constraints.txt \
	  "siamese-lightning[demo,dlib-bin,pretrained] @ file://$$(ls $(CURDIR)/dist/*.whl)"
	cd .venv/package && env -u PYTHONPATH bin/siamese demo

benchmarks: .venv/test.stamp
	$(BIN)/python benchmarks/cropping.py
	$(BIN)/python benchmarks/imports.py

# The predecessors and our recipes on their protocols, for docs/predecessors.md: hours.
# LFW=folder of people.
baselines: .venv/test.stamp
	$(BIN)/python benchmarks/baselines.py "$(LFW)" --document docs/predecessors.md

.venv/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "siamese needs Python 3.11 or newer; run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	touch $@

# constraints.txt holds every version that was tested; one call, so that pip weighs all needs
# together.
.venv/demo.stamp: .venv/python.stamp pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dlib-bin,pretrained]'
	touch $@

.venv/test.stamp: .venv/python.stamp pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dlib-bin,dev]'
	touch $@ .venv/demo.stamp

clean:
	rm -rf .venv .cache dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
