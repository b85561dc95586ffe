#!/usr/bin/env bash
# Checks the liveness of services on this machine: `healthcheck PORT...` exits with 0 if /healthz of each port returns 200 within 3 s.
# Python would need 0.3 s of CPU time for each check. The certificate is not validated, because no connection leaves this machine.
trap '' PIPE  # a server that closes the connection is unhealthy
request=$'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'
for port in "$@"; do
    status=
    if [ "${GATEHOUSE_TLS:-off}" = off ]; then
        { exec 3<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null && printf '%s' "$request" >&3 2>/dev/null && read -r -t 3 _ status _ <&3
    else
        read -r -t 3 _ status _ < <(printf '%s' "$request" | openssl s_client -quiet -connect "127.0.0.1:$port" 2>/dev/null)
    fi
    [ "$status" = 200 ] || { echo "unhealthy: /healthz on port $port returned ${status:-no response}"; exit 1; }
done
echo healthy
