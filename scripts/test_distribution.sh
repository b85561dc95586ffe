#!/bin/sh
# Tests a distribution alone: in a new environment that contains its dependencies and its test tools only.
# Usage: scripts/test_distribution.sh policies|runtime lowest-direct|highest [PYTEST ARGUMENT...]
set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:.gatehouse/tools/bin"
folder=$1
environment=.gatehouse/test-$folder-$2
case $folder in policies) tests=tests/policies ;; runtime) tests=tests/runtime/core ;; esac
uv venv --quiet --clear "$environment"
uv pip install --quiet --python "$environment" --resolution "$2" --reinstall-package gatehouse --reinstall-package gatehouse-policies "./$folder[test]"
shift 2
exec "$environment/bin/python" -m pytest -c "$folder/pyproject.toml" --rootdir . --confcutdir="$tests" "${@:-$tests}"
