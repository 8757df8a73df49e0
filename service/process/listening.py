"""Reads a host and a port and gives a socket to serve, which several processes may share."""

import socket

# Connections that may wait to be taken, if the system's own limit is not lower.
BACKLOG = 2048


class AddressError(Exception):
    """The address to listen on cannot be had."""


def listen(host: str, port: int) -> socket.socket:
    """Give a socket on which connections wait until they are served; AddressError if the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (")
        raise AddressError(f"cannot listen on {host} port {port}: {reason}") from None


def address(listening: socket.socket) -> str:
    """Give the URL of what is served on a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
