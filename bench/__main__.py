"""Runs the benchmarks of the gateway: `make bench`. The machine must be idle otherwise."""

import argparse

from bench.gateway import nginx, scale, throughput, transfer

parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
parser.add_argument("name", nargs="?", choices=("throughput", "scale", "transfer", "nginx"), help="benchmark (default: all)")
parser.add_argument("--keys", type=int, default=100_000, help="scale, transfer: number of keys (default: %(default)s)")
parser.add_argument("--workers", type=int, default=1, help="nginx: number of gateway workers (default: %(default)s)")
options = parser.parse_args()
if options.name in (None, "throughput"):
    throughput.main()
if options.name in (None, "scale"):
    scale.main(options.keys)
if options.name in (None, "transfer"):
    transfer.main(options.keys)
if options.name in (None, "nginx"):
    if missing := nginx.missing():
        parser.exit(2 if options.name else 0, f"The comparison with nginx requires {' and '.join(missing)} on PATH.\n")
    nginx.main(options.workers)
