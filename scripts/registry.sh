#!/usr/bin/env bash
# Builds a container image, signs it, and copies it with its signatures between registries without changing a digest. Every command
# can be repeated: signatures and tags that exist are not written again, because the tags of the registries are immutable.
#
#   registry.sh build <registry/repository> <region>                # logs in, copies the collector too, and prints the digest
#   registry.sh collector <registry/repository>                     # copies the image of the OpenTelemetry collector
#   registry.sh sign <registry/repository> <identity> <digest>...
#   registry.sh save <registry/repository> <directory> <tag>...     # the directory becomes an OCI image layout
#   registry.sh load <directory> <registry/repository>              # and the collector
#
# The identity is the URL of the GitHub workflow that signs. Before the other commands, log in to the registry (docker login).
set -euo pipefail

issuer=https://token.actions.githubusercontent.com
image_copy=(skopeo copy --all --preserve-digests)

fail() { printf 'registry: %s\n' "$1" >&2; exit 1; }

build() {
    local repository=$1 region=$2 metadata tag
    docker buildx inspect --bootstrap | grep --quiet linux/arm64 \
        || fail 'docker buildx cannot build for linux/arm64. Run: docker run --privileged --rm tonistiigi/binfmt --install arm64'
    aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "${repository%%/*}" >&2
    # Tags are immutable, so a second build of a commit has another tag.
    tag="release-$(git rev-parse --short=12 HEAD || echo local)-$(date -u +%Y%m%d%H%M%S)"
    metadata=$(mktemp)
    # AWS Lambda does not accept an image index, which attestations would create.
    docker buildx build --push --file runtime/Dockerfile --platform linux/arm64 --provenance=false --sbom=false \
        --tag "$repository:$tag" --metadata-file "$metadata" . >&2
    collector "$repository"
    jq --raw-output '."containerimage.digest"' "$metadata"
    rm "$metadata"
}

collector() {
    local repository=$1 source tag
    source=$(awk '$1 == "FROM" && $4 == "collector" { print $2 }' runtime/Dockerfile)
    tag=collector-${source##*:}
    # A copy, not an index of its own, so that the digest is the same.
    docker buildx imagetools inspect "$repository:$tag" >/dev/null 2>&1 \
        || docker buildx imagetools create --prefer-index=false --tag "$repository:$tag" "$source" >&2
}

sign() {
    local repository=$1 identity=$2 digest
    shift 2
    for digest in "$@"; do
        if cosign verify --certificate-identity "$identity" --certificate-oidc-issuer "$issuer" "$repository@$digest" >/dev/null; then
            printf '%s is already signed\n' "$digest"
        else
            cosign sign --yes "$repository@$digest"
        fi
    done
}

save() {
    local repository=$1 directory=$2 tag
    shift 2
    for tag in "$@"; do
        "${image_copy[@]}" "docker://$repository:$tag" "oci:$directory:$tag"
    done
}

# Prints the digest of a tag in a registry, or nothing if the tag does not exist.
digest_of() {
    local manifest
    manifest=$(mktemp)
    if skopeo inspect --raw "docker://$1" > "$manifest" 2>/dev/null; then
        skopeo manifest-digest "$manifest"
    fi
    rm "$manifest"
}

load() {
    local directory=$1 repository=$2 tags tag digest existing
    tags=$(jq --raw-output '.manifests[] | "\(.annotations["org.opencontainers.image.ref.name"]) \(.digest)"' "$directory/index.json")
    [ -n "$tags" ] || fail "$directory contains no image"
    while read -r tag digest; do
        existing=$(digest_of "$repository:$tag")
        if [ -z "$existing" ]; then
            "${image_copy[@]}" "oci:$directory:$tag" "docker://$repository:$tag"
        elif [ "$existing" != "$digest" ]; then
            fail "$repository:$tag is $existing, expected $digest"
        fi
    done <<< "$tags"
    collector "$repository"
}

case "${1:-}" in
    build | collector | sign | save | load) "$@" ;;
    *) fail "unknown command '${1:-}'; use build, collector, sign, save or load" ;;
esac
