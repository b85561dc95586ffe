#!/bin/sh
# Tests the wheel of a distribution in a new environment. The environment of the policies has their dependencies and test tools
# only, and the tests of pulumi_local, which the wheel contains, run too. The tests of the runtime also use the servers and the
# emulator of the sandbox.
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
    # test_options.py compares with the Pulumi CLI and uses the tests of releases.
    options="-c policies/pyproject.toml --rootdir . --confcutdir=$tests --ignore=tests/pulumi_local/engine/test_options.py"
    tests="$tests tests/pulumi_local"
    ;;
runtime)
    install --group dev
    install --resolution "$2" --reinstall-package gatehouse-runtime --reinstall-package gatehouse-policies ./clients/python "./runtime[server]" ./policies
    options="--numprocesses auto"
    ;;
esac
shift 2
# shellcheck disable=SC2086 # several folders and options
[ $# -gt 0 ] || set -- $tests
exec "$environment/bin/python" -m pytest $options "$@"
