#!/bin/sh
# Tests the distribution gatehouse-policies alone: in a new environment that contains its dependencies and its test tools only.
# Usage: scripts/test_policies.sh lowest-direct|highest [PYTEST ARGUMENT...]
set -eu
cd "$(dirname "$0")/.."
resolution=$1
shift
PATH="$PATH:.gatehouse/tools/bin" exec uv run --no-project --isolated --resolution "$resolution" \
    --refresh-package gatehouse-policies --with "./policies[test]" \
    python -m pytest -c policies/pyproject.toml --rootdir . "${@:-tests/policies}"
