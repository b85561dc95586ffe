"""Runs the benchmarks of the gateway: `make bench`. The machine must otherwise be idle.

`capacity` measures the CPU time per request; `--store` writes the result for capacity.md. `ratios`
compares the throughput of the endpoints with the throughput of a server without logic. `--check`
fails if a ratio is lower than the stored ratio. `nginx` compares the gateway with nginx. With
`--store`, it writes the result for capacity.md. `steps` shows the CPU time of the steps of a
verification. `idle` and `soak` report the memory of a gateway worker with idle connections, and
during many requests. `sharing` compares the response times for links that do not work. `peers`
compares the policy packs with other policy tools and writes bench/peers/README.md. `check` measures
the CPU time and the memory of a policy check of a large program. `secrets` measures the detection
of secrets on published corpora.
"""

import argparse
from pathlib import Path

from bench.gateway import capacity, memory, nginx, ratios, steps, throughput, transfer
from bench.peers import checkov, comparison
from bench.policies import check_time, secret_corpora
from bench.sharing import response_times

NAMES = (
    "ratios",
    "scale",
    "transfer",
    "nginx",
    "capacity",
    "steps",
    "idle",
    "soak",
    "sharing",
    "peers",
    "check",
    "secrets",
)
parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
parser.add_argument(
    "name", nargs="?", choices=NAMES, help="benchmark (default: all benchmarks of the gateway)"
)
parser.add_argument(
    "--keys",
    type=int,
    default=100_000,
    help="scale, transfer: number of keys (default: %(default)s)",
)
parser.add_argument(
    "--workers", type=int, default=1, help="nginx: number of gateway workers (default: %(default)s)"
)
parser.add_argument(
    "--store", action="store_true", help="capacity, nginx, ratios, steps: store the result"
)
parser.add_argument(
    "--check", action="store_true", help="ratios: fail if a ratio is lower than the stored ratio"
)
parser.add_argument(
    "--connections",
    type=int,
    default=10_000,
    help="idle: number of connections (default: %(default)s)",
)
parser.add_argument(
    "--requests",
    type=int,
    default=1_000_000,
    help="soak: number of requests (default: %(default)s)",
)
parser.add_argument(
    "--rounds", type=int, default=100, help="sharing: number of rounds (default: %(default)s)"
)
parser.add_argument(
    "--resources", type=int, default=3000, help="check: number of resources (default: %(default)s)"
)
parser.add_argument("--checkov", action="store_true", help="peers: install and run Checkov first")
parser.add_argument("--creddata", type=Path, help="secrets: checkout of Samsung/CredData")
parser.add_argument(
    "--repositories",
    type=Path,
    help="secrets: folder with clones of the repositories of CredData, named owner+name",
)
parser.add_argument("--detect-secrets", type=Path, help="secrets: checkout of Yelp/detect-secrets")
options = parser.parse_args()
if options.name in (None, "ratios"):
    ratios.main(check=options.check, store=options.store)
if options.name in (None, "scale"):
    throughput.cached_keys(options.keys)
if options.name in (None, "transfer"):
    transfer.main(options.keys)
if options.name in (None, "nginx"):
    if missing := nginx.missing():
        parser.exit(
            2 if options.name else 0,
            f"The comparison with nginx requires {' and '.join(missing)} on PATH.\n",
        )
    nginx.main(options.workers, store=options.store)
if options.name == "capacity":
    capacity.main(store=options.store)
if options.name == "steps":
    steps.main(store=options.store)
if options.name == "idle":
    memory.idle(options.connections)
if options.name == "soak":
    memory.soak(options.requests)
if options.name == "sharing":
    response_times.main(options.rounds)
if options.name == "peers":
    if options.checkov:
        checkov.measure(comparison.terraform_programs())
    comparison.PAGE.write_text(
        comparison.page(comparison.caught(comparison.read())), encoding="utf-8"
    )
if options.name == "check":
    check_time.main(options.resources)
if options.name == "secrets":
    secret_corpora.main(options.creddata, options.repositories, options.detect_secrets)
