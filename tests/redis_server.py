"""A Redis-compatible server of the tests' own on a unix socket: to fill, to stop, to start again."""

import subprocess
import time
from pathlib import Path

import redis

from bot.embedded import binary


class RedisServer:
    """Started at once; `stop` it at the end."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self.dsn = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [binary(), "--port", "0", "--unixsocket", str(self._socket), "--save", ""],
            stdout=subprocess.DEVNULL,
        )
        client = redis.Redis(unix_socket_path=str(self._socket))
        deadline = time.monotonic() + 10
        while True:
            try:
                client.ping()
            except (redis.RedisError, OSError):
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.02)
            else:
                client.close()
                return

    def stop(self) -> None:
        """As by kill -9: nothing is kept."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None
