# make quickstart   set up, make synthetic people, train a small DeforHMR, evaluate it, predict, write a page to look at
# make quickstart-d2a   the same with a small D2A-HMR, which sees depth: quickstart_d2a/
# make test         set up and run all tests
# make lint         ruff and mypy
# make docs         the documentation as a site in site/
# make bench        speed beside PyTorch, in one run
# make bench-data   speed of building and reading data, beside a plain OpenCV loader
# make bench-eval   speed of scoring 35,515 predictions
# make bench-real   accuracy of the shipped model on a real person, seen by four cameras (downloads 51 MB)
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python

.PHONY: quickstart quickstart-d2a test lint format docs bench bench-data bench-eval bench-real clean

$(VENV)/ready-%: pyproject.toml
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@

# Large memory pages, where glibc and the system have them: a twentieth faster on CPUs.
quickstart quickstart-d2a: export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

quickstart: $(VENV)/ready-train
	$(RUN) -m tools.quickstart

quickstart-d2a: $(VENV)/ready-train
	$(RUN) -m tools.quickstart d2a

test: $(VENV)/ready-test
	$(RUN) -m pytest

lint: $(VENV)/ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/ready-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/ready-docs
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

bench: $(VENV)/ready-bench
	$(RUN) -m benchmarks

bench-data: $(VENV)/ready-bench
	$(RUN) -m benchmarks.pipeline
	$(RUN) -m benchmarks.loaders

bench-eval: $(VENV)/ready-train
	$(RUN) -m benchmarks.evaluation

bench-real: $(VENV)/ready-train $(VENV)/ready-video
	$(RUN) -m benchmarks.real_capture
	$(RUN) -m benchmarks.real_video

clean:
	rm -rf quickstart quickstart_d2a feature_cache runs data build dist site *.egg-info
