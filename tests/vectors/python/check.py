"""Checks the protocol from Python, and from nothing but its specification: `check.py BINARY`.

BINARY is the live side of tests/vectors/README.md. In this order:

- the codec of this folder, with packets.txt, invalid.txt and ids.txt;
- BINARY, with states.txt and invalid.txt, in both roles;
- the client library of this folder as the side under test, in the same way;
- the client library as a client of BINARY, in both roles.

It prints each failure and a last line, and its exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import codec_vectors
import demo
import tester

OWN_SIDE = [sys.executable, str(Path(__file__).absolute().parent / "serve.py")]

# Which check, what it is about, and what went wrong, if anything.
Result = tuple[str, str, str | None]


def check_codec() -> Iterator[Result]:
    for name, fault in codec_vectors.check():
        yield "codec", name, fault


def check_side(label: str, command: list[str], chosen: list[tester.Vector]) -> Iterator[Result]:
    for role, run in (("accepts", tester.run_accepting), ("connects", tester.run_connecting)):
        for vector, fault in run(command, chosen):
            name = f"{vector.file}: {vector.name}"
            yield f"{label} {role}", name if vector.level == "must" else f"{name} ({vector.level})", fault


def check_client(command: list[str]) -> Iterator[Result]:
    with tester.started([*command, "tcp://127.0.0.1:0"]) as process:
        outcomes = asyncio.run(demo.run_connecting(tester.printed_address(process)))
    yield from (("client connects", *outcome) for outcome in outcomes)
    outcomes = asyncio.run(demo.run_accepting(command))
    yield from (("client accepts", *outcome) for outcome in outcomes)


def results(binary: list[str], name_part: str) -> Iterator[Result]:
    chosen = [vector for vector in tester.load() if name_part in vector.name]
    yield from check_codec()
    yield from check_side("live side", binary, chosen)
    yield from check_side("own side", OWN_SIDE, chosen)
    yield from check_client(binary)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binary", help="the live side: the example vectors_server")
    arguments.add_argument("--only", default="", help="only the sequences whose name has this part")
    options = arguments.parse_args()
    passed = failed = 0
    for check, name, fault in results([options.binary], options.only):
        if fault is None:
            passed += 1
        else:
            failed += 1
            print(f"FAILED {check}: {name}\n    {fault}", flush=True)
    print(f"passed {passed}, failed {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
