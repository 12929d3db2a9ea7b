"""Milepost's pools beside those of others, in turn in one run.

    python bench/pools.py [--jobs 5000] [--children 2] [--rounds 3] [--only run | cancel | death |
        children]

`run`: jobs a second, for calls that do nothing and for calls that compute for 10 ms. `cancel`: from
the request to the end of a running handler. `death`: from the end of a child to what follows.
`children`: how soon a child runs, and what it weighs. Needs Linux.
"""

import argparse
import importlib.metadata
import platform

from pools_node import GUARANTEES as THEIR_GUARANTEES
from pools_node import has_node, piscina
from pools_peers import DEFAULT_START, PEERS, PISCINA


def taking_part() -> list[str]:
    """Which of the others are there; says what the rest needs."""
    there = [name for name, peer in PEERS.items() if not peer.missing]
    for name in sorted(PEERS.keys() - there):
        print(f"{name} does not take part: `make bench` installs it")
    if has_node():
        return [*there, PISCINA]
    print(f"{PISCINA} does not take part: it needs Node 20 and npm")
    return there


def show_versions(peers: list[str]) -> None:
    packages = [PEERS[name].package for name in peers if name != PISCINA]
    versions = [f"{each} {importlib.metadata.version(each)}" for each in packages if each]
    if PISCINA in peers:
        versions += [f"{name} {version}" for name, version in piscina("version").items()]
    print(f"\nPools: Python {platform.python_version()} ({DEFAULT_START}), {', '.join(versions)}")


def main() -> None:
    # Not above: children that others spawn import this file again, and would carry all of it.
    import pools_cancel
    import pools_children
    import pools_death
    import pools_rate
    from pools_milepost import GUARANTEES

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=5000, help="that do nothing, a side and round")
    parser.add_argument("--children", type=int, nargs="+", default=[2], help="at most, in turn")
    parser.add_argument("--samples", type=int, default=35, help="of a latency, a side and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["run", "cancel", "death", "children"])
    given = parser.parse_args()
    peers = taking_part()
    show_versions(peers)
    theirs = {name: peer.guarantees for name, peer in PEERS.items()}
    for name, guarantees in {**GUARANTEES, **theirs, PISCINA: THEIR_GUARANTEES}.items():
        print(f"  {name}: {guarantees}")
    if given.only in (None, "run"):
        for children in given.children:
            print(f"\n{given.jobs:,} jobs that do nothing, at most {children} children or threads")
            pools_rate.measure("nothing", given.jobs, children, given.rounds, peers)
            jobs = given.jobs // 20
            print(f"\n{jobs:,} jobs of 10 ms of CPU, at most {children} children or threads")
            pools_rate.measure("burn", jobs, children, given.rounds, peers)
    if given.only in (None, "cancel"):
        print(f"\nCancel, {given.samples} samples a round, {given.rounds} rounds")
        pools_cancel.measure(given.samples, given.rounds, peers)
    if given.only in (None, "death"):
        print(f"\nDeath of a child, {given.samples} samples a round, {given.rounds} rounds")
        pools_death.measure(given.samples, given.rounds, peers)
    if given.only in (None, "children"):
        print(f"\nA child, medians of {given.rounds} rounds")
        pools_children.measure(given.rounds, peers)


if __name__ == "__main__":
    main()
