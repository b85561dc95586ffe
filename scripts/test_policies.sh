#!/bin/sh
# Tests the distribution gatehouse-policies alone: in a new environment that contains its dependencies and its test tools only.
# Usage: scripts/test_policies.sh lowest-direct|highest [PYTEST ARGUMENT...]
set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:.gatehouse/tools/bin"
environment=.gatehouse/test-policies-$1
uv venv --quiet --clear "$environment"
uv pip install --quiet --python "$environment" --resolution "$1" --reinstall-package gatehouse-policies "./policies[test]"
shift
exec "$environment/bin/python" -m pytest -c policies/pyproject.toml --rootdir . "${@:-tests/policies}"
