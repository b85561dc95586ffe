#!/bin/sh
# Tests the wheel of a distribution in a new environment. That of the policies contains their dependencies
# and test tools only; the tests of the runtime also use the servers and the emulator of the sandbox.
# Usage: scripts/test_distribution.sh policies|runtime lowest-direct|highest [PYTEST ARGUMENT...]
set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:.gatehouse/tools/bin"
folder=$1
tests=tests/$1
environment=.gatehouse/test-$1-$2
install() {
    uv pip install --quiet --python "$environment" "$@"
}
uv venv --quiet --clear --seed "$environment"
case $folder in
policies)
    install --resolution "$2" --reinstall-package gatehouse-policies "./policies[test]"
    options="-c policies/pyproject.toml --rootdir . --confcutdir=$tests"
    ;;
runtime)
    install --group dev
    install --resolution "$2" --reinstall-package gatehouse-runtime --reinstall-package gatehouse-policies ./clients/python "./runtime[server]" ./policies
    options="--numprocesses auto"
    ;;
esac
shift 2
# shellcheck disable=SC2086 # several options
exec "$environment/bin/python" -m pytest $options "${@:-$tests}"
