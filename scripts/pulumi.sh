#!/bin/sh
# Downloads the Pulumi CLI, in the version from uv.lock, to .gatehouse/pulumi. Prints the directories to add to PATH: the
# directory of the CLI and, if scripts/setup.sh installed uv, the directory of the uv binary. For Linux CI runners.
set -eu
cd "$(dirname "$0")/.."

version=$(awk '/^name = "pulumi"$/ { getline; gsub(/version = |"/, ""); print; exit }' uv.lock)
[ -n "$version" ] || { printf '%s\n' "pulumi: no version of pulumi in uv.lock" >&2; exit 1; }
case "$(uname -m)" in
    x86_64) machine=x64 ;;
    aarch64 | arm64) machine=arm64 ;;
    *) printf '%s\n' "pulumi: unsupported machine $(uname -m)" >&2; exit 1 ;;
esac
folder=.gatehouse/pulumi
if [ "$("$folder/pulumi" version 2>/dev/null)" != "v$version" ]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    chmod 700 .gatehouse
    archive="pulumi-v$version-linux-$machine.tar.gz"
    base="https://github.com/pulumi/pulumi/releases/download/v$version"
    curl --fail --silent --show-error --location --output "$folder/$archive" "$base/$archive"
    curl --fail --silent --show-error --location --output "$folder/sums" "$base/pulumi-$version-checksums.txt"
    (cd "$folder" && grep " $archive\$" sums | sha256sum --check --quiet -) >&2
    tar --extract --gzip --file "$folder/$archive" --directory "$folder" --strip-components 1
fi
printf '%s\n' "$PWD/$folder"
if [ -x .gatehouse/tools/bin/uv ]; then
    # A separate directory, because .gatehouse/tools/bin also contains a Python interpreter.
    mkdir -p .gatehouse/uv
    ln -sf "$PWD/.gatehouse/tools/bin/uv" .gatehouse/uv/uv
    printf '%s\n' "$PWD/.gatehouse/uv"
fi
