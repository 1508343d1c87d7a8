# Every recipe is a thin wrapper over a tested command; `just` alone lists them.

set shell := ["bash", "-euo", "pipefail", "-c"]
set dotenv-load

python := ".venv/bin/python"

# List the recipes
[private]
default:
    @just --list --unsorted

# Make .venv from the locked requirements and install the git hook
[group('develop')]
setup:
    @python3 ops/setup/environment.py

# A working API on loopback, with a model stand-in unless MODEL_URL is set
[group('develop')]
dev: setup
    @exec {{ python }} -m ops dev

# The API alone, configured by the environment or .env
[group('run')]
serve: setup
    @exec {{ python }} -m ops serve

# Start the appliance with Docker Compose, after checks, and wait until it is ready
[group('appliance')]
up *args: setup
    @{{ python }} -m ops up {{ args }}

# Stop the appliance; state, model, metrics and backups stay
[group('appliance')]
down *args: setup
    @{{ python }} -m ops down {{ args }}

# Each service of the appliance, and whether it is ready
[group('appliance')]
status *args: setup
    @{{ python }} -m ops status {{ args }}

# What the appliance's services logged: `just logs api --follow`
[group('appliance')]
logs *args: setup
    @{{ python }} -m ops logs {{ args }}

# Replace the running appliance by this version; back to the old one when it does not come up
[group('appliance')]
upgrade *args: setup
    @{{ python }} -m ops upgrade {{ args }}

# Bring the weights into the model volume, once, from the internet: `just model-fetch --dry-run`
[group('appliance')]
[positional-arguments]
model-fetch *args:
    @docker compose --profile keepers run --rm --no-deps model-keeper model fetch "$@"

# Hold every file of the model volume to its checksum
[group('appliance')]
[positional-arguments]
model-verify *args:
    @docker compose --profile keepers run --rm --no-deps model-keeper model verify "$@"

# Pack everything for a host without internet: `just bundle /media/stick`
[group('appliance')]
bundle *args: setup
    @{{ python }} -m ops bundle {{ args }}

# Unpack on that host what `just bundle` packed
[group('appliance')]
load *args: setup
    @{{ python }} -m ops load {{ args }}

# Everything that needs neither Docker nor a real vLLM
[group('test')]
test *args: setup
    {{ python }} -m pytest -n 3 --dist loadfile --no-loadscope-reorder {{ args }}

# End to end against a real vLLM (CPU build, tiny model made here)
[group('test')]
test-vllm *args: setup
    python3 -m tests.vllm.prepare
    {{ python }} -m pytest tests/vllm {{ args }}

# The appliance on a real Docker engine: the real images, composed, driven and broken
[group('test')]
test-containers *args: setup
    tests/containers/engine/ready
    {{ python }} -m pytest tests/containers {{ args }}

# Client frameworks built on Assistants and on Responses, in folders of their own (0.7 GB)
[group('test')]
test-frameworks *args: setup
    {{ python }} -m tests.e2e.prepare langchain-classic semantic-kernel autogen-ext openai-agents
    {{ python }} -m pytest tests/e2e/frameworks {{ args }}

# schemathesis on the whole exported document, with all its checks
[group('test')]
test-schema *args: setup
    {{ python }} -m tests.schemathesis {{ args }}

# Crash proofs: hundreds of `kill -9` under load, random orders of calls, chunks and crashes
[group('test')]
test-faults *args: setup
    {{ python }} -m pytest -n 2 --dist loadfile tests/faults {{ args }}

# Rules, alerts and dashboards under a real Prometheus (Debian's `prometheus` and `libfaketime`), in twelve troubles
[group('test')]
test-observability *args: setup
    {{ python }} -m pytest tests/observability {{ args }}

# What it costs, next to the bare model server in the same run
[group('test')]
bench *args: setup
    {{ python }} -m bench {{ args }}

# Formatting, lint, import contracts, Dockerfiles, shell scripts, YAML
[group('develop')]
lint: setup
    .venv/bin/ruff format --check .
    .venv/bin/ruff check .
    .venv/bin/lint-imports --no-cache
    promtool check config prometheus/prometheus.yml
    promtool check rules prometheus/rules/*.yml
    {{ python }} -m app.telemetry.metrics | promtool check metrics
    .venv/bin/hadolint Dockerfile Dockerfile.vllm tests/containers/standin_base/Dockerfile
    .venv/bin/shellcheck .ci/run tests/containers/engine/*
    .venv/bin/yamllint --strict compose.yaml tests/containers prometheus grafana
    just --fmt --check --unstable

# Mend what `lint` can mend
[group('develop')]
fix: setup
    .venv/bin/ruff check --fix .
    .venv/bin/ruff format .
    just --fmt --unstable

# Write the dashboards that Grafana reads from their code
[group('develop')]
dashboards: setup
    {{ python }} -m grafana.boards

# Draw the dashboards from a running stack into data/dashboards, for those who have no Grafana
[group('develop')]
dashboards-preview: setup
    {{ python }} -m tests.e2e.prepare matplotlib
    {{ python }} -m tests.observability.preview

# Strict types
[group('develop')]
types: setup
    .venv/bin/mypy

# Make, list, change, rotate and revoke API keys: `just keys create desk`
[group('run')]
[positional-arguments]
keys *args: setup
    @{{ python }} -m ops keys "$@"

# Take a snapshot of the state now, verified before it counts
[group('run')]
[positional-arguments]
backup *args: setup
    @{{ python }} -m ops backup "$@"

# List the snapshots
[group('run')]
[positional-arguments]
backups *args: setup
    @{{ python }} -m ops backups "$@"

# Prove a snapshot: restore it into scratch and read it through an API
[group('run')]
[positional-arguments]
verify *args: setup
    @{{ python }} -m ops verify "$@"

# Put a snapshot back: `just restore`, `just restore --at 2026-11-22T09:00`, `just restore --to FOLDER`
[group('run')]
[positional-arguments]
restore *args: setup
    @{{ python }} -m ops restore "$@"

# Bring the schema of DATABASE_URL up to date
[group('run')]
migrate: setup
    @{{ python }} -m ops migrate

# Write a new migration from what changed in app/db/tables.py
[group('develop')]
revision message: setup
    @{{ python }} -m ops revision "{{ message }}"
