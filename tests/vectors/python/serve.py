"""The client library as the side under test: it serves the service of the vectors with the settings of settings.txt.

`serve.py tcp://127.0.0.1:0` accepts, and prints its address; `serve.py connect tcp://127.0.0.1:PORT` connects, again
after each end.
"""

from __future__ import annotations

import asyncio
import sys

import vectors
from codec import Limits
from connection import Config, connect, serve
from service import METHODS

UNITS = {"KiB": 1_024, "s": 1}
PAUSE_SECONDS = 0.05


def settings() -> Config:
    """The settings of settings.txt, whose names are those of `Config` and `Limits`."""
    values = {}
    for lines in vectors.read("settings.txt"):
        values.update((key, _number(value)) for key, value in lines)
    limits = Limits(**{name: values.pop(name) for name in vars(Limits())})
    return Config(limits, default_timeout_ms=values.pop("default_timeout"), **values)


def _number(value: str) -> int:
    number, _, unit = value.partition(" ")
    return 0 if number == "none" else int(number) * UNITS.get(unit, 1)


async def accept(host: str, port: int) -> None:
    server = await serve(host, port, settings(), METHODS)
    print(f"tcp://{host}:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def connect_again(host: str, port: int) -> None:
    while True:
        try:
            connection = await connect(host, port, settings(), METHODS)
            await connection.ended.wait()
        except (OSError, TimeoutError):
            await asyncio.sleep(PAUSE_SECONDS)


def main() -> None:
    host, _, port = sys.argv[-1].removeprefix("tcp://").rpartition(":")
    role = connect_again if sys.argv[1] == "connect" else accept
    try:
        asyncio.run(role(host, int(port)))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
