"""Starts the AWS emulator with what its environment has no variable for.

Each warm execution environment has two threads in the emulator's process: one that
serves its Runtime API and looked ten times a second whether it should end, one that
holds its request for the next event and looked as often whether there is one. There
are hundreds of environments in a test run, and what answers requests waited behind
all of them for the interpreter. Such threads now sleep until somebody wants something.
"""

import queue
import socket
import socketserver
import types

from ministack.app import main
from ministack.core import lambda_runtime

# How long a thread sleeps that nobody wants anything of.
REST_S = 60.0

_serve_forever = socketserver.BaseServer.serve_forever
_shutdown = socketserver.BaseServer.shutdown


def serve_forever(self, poll_interval: float = 0.5) -> None:
    """Serves, looking up once in `REST_S` and not each `poll_interval`."""
    _serve_forever(self, max(poll_interval, REST_S))


def shutdown(self) -> None:
    """Ends the server, and wakes it so that it sees that."""
    self._BaseServer__shutdown_request = True
    try:
        socket.create_connection(self.server_address[:2], timeout=1).close()
    except OSError:
        pass  # It has ended, or somebody else's call wakes it.
    _shutdown(self)


class PatientQueue(queue.Queue):
    """A queue of which a reader who would look again waits instead.

    Once its environment is stopped nobody writes to it; its process is ended by then,
    and the thread ends after the rest of `REST_S`.
    """

    def get(self, block: bool = True, timeout: float | None = None):
        return super().get(block, timeout if timeout is None else max(timeout, REST_S))


socketserver.BaseServer.serve_forever = serve_forever
socketserver.BaseServer.shutdown = shutdown
lambda_runtime.queue = types.SimpleNamespace(Queue=PatientQueue, Empty=queue.Empty, Full=queue.Full)
main()
