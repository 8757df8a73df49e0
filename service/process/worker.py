"""Serves one socket in this process: alone, or as one of the workers that a supervisor starts.

A worker is run as ``python -m service.process.worker <supervisor> <own>,<neighbour>,… <flag>…``, where the numbers are
those of the sockets that it inherits.
"""

import gc
import logging
import socket
import sys
from collections.abc import Sequence

from pydantic_settings import CliApp

from model.artifact import ArtifactError
from service.app import create_app
from service.process.listening import AddressError, Neighbours, address, listen
from service.process.logs import refuse
from service.process.server import Server, stop_without
from service.security.failures import KeysError
from service.sessions import StoreError
from service.settings import Settings
from service.tracing import open_traces

_log = logging.getLogger("nextply")


def serve(settings: Settings, inherited: Sequence[socket.socket] = (), supervisor: socket.socket | None = None) -> int:
    """Serve until stopped; 1 if the service cannot start, which is said in one line.

    The first of the ``inherited`` sockets is its own; the others it looks after.
    """
    try:
        app = create_app(settings, open_traces())
        own, *others = inherited or listen(settings.host, settings.port)
    except (ArtifactError, StoreError, KeysError, AddressError) as error:
        refuse(error)
        return 1
    on_ready = stop_without(supervisor) if supervisor else lambda _: _log.info("running on %s", address(own))
    _settle_down()
    Server(app, settings, on_ready, Neighbours(others)).run([own])
    return 0


def _settle_down() -> None:
    """Keep Python from pausing under load, which shows in the slowest hundredth of the answers.

    What is there by now stays to the end, so the collector need not look at it again: a full collection took 60 ms.
    What a thousand requests hold at a time, a hundred objects each, is not worth a look either: it goes by itself. And
    a thread that comes back from onnxruntime or the store waits for the interpreter no longer than a step takes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    sys.setswitchinterval(0.0005)


def main() -> int:
    """Serve the inherited sockets; the supervisor has checked the flags."""
    supervisor, *inherited = (socket.socket(fileno=int(number)) for number in ",".join(sys.argv[1:3]).split(","))
    return serve(CliApp.run(Settings, cli_args=sys.argv[3:]), inherited, supervisor)


if __name__ == "__main__":
    sys.exit(main())
