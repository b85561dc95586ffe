#!/usr/bin/env bash
# Sends a signed request (RFC 9421, HMAC-SHA256) with openssl and curl:
#
#   export GATEHOUSE_KEY=gtk_...  GATEHOUSE_SIGNING_SECRET=sigkey_...
#   docs/guides/sign.sh GET https://gateway.example.com/cores/docs/files
#   docs/guides/sign.sh POST https://gateway.example.com/cores/docs/notes 'a body'
#
# The URL is signed as given: percent-encoded, with a path and the host that the gateway receives.
# openssl takes the secret as an argument, which other users of the machine can read. Use gatehouse.client.signing in programs.
set -euo pipefail
method=$1 url=$2 body=${3-}

key_id=${GATEHOUSE_KEY##*_}
key_id=${key_id:0:12}
secret=$(printf %s "${GATEHOUSE_SIGNING_SECRET#sigkey_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')

covered='"@method" "@target-uri"'
base="\"@method\": $method"$'\n'"\"@target-uri\": $url"
sent=()
if [ -n "$body" ]; then
    digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | openssl base64 -A):"
    covered+=' "content-digest"'
    base+=$'\n'"\"content-digest\": $digest"
    sent=(--header "Content-Digest: $digest" --data-binary "$body")
fi
params="($covered);created=$(date +%s);nonce=\"$(openssl rand -hex 16)\";keyid=\"$key_id\";tag=\"gatehouse\""
base+=$'\n'"\"@signature-params\": $params"
signature=$(printf %s "$base" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$secret" -binary | openssl base64 -A)

# The token is passed on standard input, so it does not appear in the process list.
curl --silent --show-error --fail-with-body --request "$method" --config - ${sent[@]+"${sent[@]}"} \
    --header "Signature-Input: gatehouse=$params" --header "Signature: gatehouse=:$signature:" "$url" \
    <<<"header = \"Authorization: Bearer $GATEHOUSE_KEY\""
