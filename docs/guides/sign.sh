#!/usr/bin/env bash
# Sends a signed request (RFC 9421, Ed25519) with curl and OpenSSL 3:
#
#   export GATEHOUSE_KEY=gtk_...  GATEHOUSE_PRIVATE_KEY=private.pem
#   docs/guides/sign.sh GET https://gateway.example.com/cores/docs/files
#   docs/guides/sign.sh POST https://gateway.example.com/cores/docs/notes 'a body'
#
# The URL is signed as given: percent-encoded, with a path and the host that the gateway receives.
set -euo pipefail
method=$1 url=$2 body=${3-}

key_id=${GATEHOUSE_KEY##*_}
key_id=${key_id:0:12}

covered='"@method" "@target-uri"'
base="\"@method\": $method"$'\n'"\"@target-uri\": $url"
sent=()
if [ -n "$body" ]; then
    digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | openssl base64 -A):"
    covered+=' "content-digest"'
    base+=$'\n'"\"content-digest\": $digest"
    sent=(--header "Content-Digest: $digest" --data-raw "$body")
fi
params="($covered);created=$(date +%s);nonce=\"$(openssl rand -hex 16)\";keyid=\"$key_id\";tag=\"gatehouse\""
base+=$'\n'"\"@signature-params\": $params"
file=$(mktemp)  # openssl signs only files with Ed25519
trap 'rm -f "$file"' EXIT
printf %s "$base" >"$file"
signature=$(openssl pkeyutl -sign -rawin -inkey "$GATEHOUSE_PRIVATE_KEY" -in "$file" | openssl base64 -A)

# The token is passed on standard input, so it does not appear in the process list.
curl --silent --show-error --fail-with-body --request "$method" --config - ${sent[@]+"${sent[@]}"} \
    --header "Signature-Input: gatehouse=$params" --header "Signature: gatehouse=:$signature:" "$url" \
    <<<"header = \"Authorization: Bearer $GATEHOUSE_KEY\""
