"""Names of the headers between Envoy and the workers (platform/envoy/bootstrap.yaml.j2)."""

#: Beginning of the names. Envoy removes the headers from the requests of
#: clients, and no Core and no client receives them.
INTERNAL = b"x-gh-"
#: Address of the connection to Envoy, its TLS version, and the length that the client declared, or
#: the transfer coding, separated by spaces. "-" stands for an empty text.
PEER = b"x-gh-peer"
#: A UUID, the same each time Envoy sends a request or its check to a worker.
CHARGE = b"x-gh-charge"
#: Where Envoy sends a request that a check has allowed: the cluster, the path with the query, the
#: class of its route, and the cluster of workers that it passes before: relay, upload.
CLUSTER, PATH, CLASS, RELAY = b"x-gh-cluster", b"x-gh-path", b"x-gh-class", b"x-gh-relay"
#: The format of the errors of a Core, for the relay.
FORMAT = b"x-gh-format"
#: The response to a denied request (services/gateway/uploads.py).
REFUSAL = b"x-gh-refusal"
#: The request and its key, for the Core and for the access log.
REQUEST_ID, KEY_ID = b"gatehouse-request-id", b"gatehouse-key-id"
REQUEST_HEADERS = (
    *(PEER, CHARGE, CLUSTER, PATH, CLASS, RELAY, FORMAT, REFUSAL),
    *(REQUEST_ID, KEY_ID),
)
#: Of responses: the URLs to translate, and the instance that responded.
URLS, INSTANCE = b"x-gh-urls", b"x-gh-instance"
