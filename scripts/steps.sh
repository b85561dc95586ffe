# Functions of setup.sh and build_web.sh, which set `log`, the file with the output of their commands.
# shellcheck shell=sh

DISK_MIN_KB=2500000 # .venv, node_modules, and the caches of uv and npm

say() { printf '%s\n' "setup: $*"; }
fail() { printf '%s\n' "setup: $*" >&2; exit 1; }

# Contains logs and credentials of the local environment.
mkdir -p .gatehouse && chmod 700 .gatehouse 2>/dev/null || fail ".gatehouse cannot be changed. Delete the folder, or run the command as its owner"

# The caches of uv and npm are in the home directory, if it can be written.
if ! (mkdir -p "${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}" && [ -w "${XDG_CACHE_HOME:-$HOME/.cache}" ] && [ -w "$HOME" ]) 2>/dev/null; then
    export XDG_CACHE_HOME="$PWD/.gatehouse/cache" npm_config_cache="$PWD/.gatehouse/cache/npm"
fi

# Fails if the disk of the repository or of the caches is full.
require_space() {
    for folder in . "${XDG_CACHE_HOME:-$HOME}"; do
        available=$(df -Pk "$folder" 2>/dev/null | awk 'NR == 2 { print $4 }')
        [ "${available:-$DISK_MIN_KB}" -ge "$DISK_MIN_KB" ] ||
            fail "$((available / 1024)) MB are free on the disk of $(cd "$folder" && pwd), $((DISK_MIN_KB / 1024)) MB are required. Free space, or move the cache: XDG_CACHE_HOME=/path make init"
    done
}

# run COMMAND...: runs a command, appends its output to the log, and prints the lines about downloads.
run() {
    rm -f "$log.ok"
    { "$@" 2>&1 && : >"$log.ok"; } | while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log" 2>/dev/null || :
        case $line in *Downloading\ *) say "downloading ${line#*Downloading }" ;; esac
    done
    [ -e "$log.ok" ] && rm "$log.ok"
}

# Prints why the last command failed, and what to type.
cause() {
    if grep -qiE 'no space left|ENOSPC|disk quota' "$log" 2>/dev/null; then
        printf '%s' "the disk is full. Free space"
    elif grep -qiE 'UnknownIssuer|CERTIFICATE_VERIFY_FAILED|SELF_SIGNED|UNABLE_TO_GET_ISSUER_CERT' "$log"; then
        printf '%s' "the certificate of the package index is not trusted. Type: export SSL_CERT_FILE=/path/to/the/certificates/of/your/proxy.pem"
    elif grep -qiE 'dns error|error sending request|failed to fetch|connection|timed out|ECONN|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|no matching distribution' "$log"; then
        printf '%s' "the package index cannot be reached. Check the network and the settings of the proxy and the index (UV_DEFAULT_INDEX, PIP_INDEX_URL, npm_config_registry)"
    else
        printf '%s' "$(grep -iE '(^|[^a-z])err(or)?[ !:]' "$log" | tail -n 1)"
    fi
    printf '%s' ". Output: $log"
}
