"""The two servers behind the stack: the AWS emulator and the database."""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import settings
from console import Stop
from settings import LOCAL, LOGS

START_SECONDS = 60
STOP_SECONDS = 60


@dataclass(frozen=True)
class Daemon:
    """A server that outlives the script that starts it."""

    name: str
    port: int
    port_variable: str
    command: list[str]
    healthy: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    # Emptied before each start: a server that was killed leaves what it unpacked.
    scratch: Path | None = None

    @property
    def log(self) -> Path:
        return LOGS / f"{self.name}.log"

    @property
    def _pid_file(self) -> Path:
        return LOCAL / f"{self.name}.pid"

    def pid(self) -> int | None:
        """The running server's process id, or None."""
        try:
            pid = int(self._pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        # A recycled process id belongs to somebody else's program.
        return pid if self.command[0] in _command_line(pid) else None

    def require_port(self) -> None:
        """Stops where somebody else has the port that the server needs."""
        if self.pid() is None and not _is_free(self.port):
            raise Stop(
                f"port {self.port}, which the {self.name} needs, is taken; "
                f"choose another with {self.port_variable}=<port>."
            )

    def start(self) -> None:
        """Starts the server unless it runs, and waits until it answers."""
        if self.pid() is not None:
            if not self.healthy():
                raise Stop(f"the {self.name} runs but does not answer; see {self.log.relative_to(settings.ROOT)}, then `make stop`.")
            return
        self.require_port()
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir(parents=True)
        LOGS.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command,
                cwd=LOCAL,
                # Functions inherit the emulator's environment, so it gets a bare one.
                env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", str(LOCAL)), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._pid_file.write_text(str(process.pid))
        deadline = time.monotonic() + START_SECONDS
        while not self.healthy():
            if process.poll() is not None:
                raise Stop(f"the {self.name} did not start; see {self.log.relative_to(settings.ROOT)}.")
            if time.monotonic() > deadline:
                self.stop()
                raise Stop(f"the {self.name} did not answer within {START_SECONDS} s; see {self.log.relative_to(settings.ROOT)}.")
            time.sleep(0.1)

    def stop(self) -> bool:
        """Ends the server and all it started; True when there was one."""
        pid = self.pid()
        if pid is None:
            self._pid_file.unlink(missing_ok=True)
            return False
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.pid() is not None and time.monotonic() < deadline:
            _reap(pid)
            time.sleep(0.1)
        # start() made it the leader of its own process group: what is left
        # there are functions that it started.
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._pid_file.unlink(missing_ok=True)
        return True


def _command_line(pid: int) -> str:
    """What the process was started with; empty for one that has ended."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            return ""
    return subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _emulator_healthy() -> bool:
    try:
        with urllib.request.urlopen(f"{settings.AWS_ENDPOINT}/_ministack/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _database_healthy() -> bool:
    try:
        socket.create_connection(("127.0.0.1", settings.MONGODB_PORT), timeout=1).close()
    except OSError:
        return False
    return True


def emulator(operator: dict[str, str]) -> Daemon:
    """The AWS emulator; `operator` holds the access key that counts as root."""
    state = settings.EMULATOR_STATE
    for directory in ("state", "s3"):
        (state / directory).mkdir(parents=True, exist_ok=True)
    return Daemon(
        name="emulator",
        port=settings.AWS_PORT,
        port_variable=settings.AWS_PORT_VARIABLE,
        command=[settings.venv_program("emulator", "python"), str(Path(__file__).with_name("emulator_server.py"))],
        healthy=_emulator_healthy,
        environment={
            "GATEWAY_PORT": str(settings.AWS_PORT),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "MINISTACK_REGION": settings.REGION,
            "AWS_ENDPOINT_URL": settings.AWS_ENDPOINT,
            "AWS_ACCESS_KEY_ID": operator["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": operator["secret_access_key"],
            "AUTH": "true",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "1",
            "S3_PERSIST": "1",
            "STATE_DIR": str(state / "state"),
            "S3_DATA_DIR": str(state / "s3"),
            "TMPDIR": str(state / "tmp"),
        },
        scratch=state / "tmp",
    )


def database(authenticate: bool = True) -> Daemon:
    """The database server; without `authenticate` only to create its first user."""
    return Daemon(
        name="database",
        port=settings.MONGODB_PORT,
        port_variable=settings.MONGODB_PORT_VARIABLE,
        command=[
            settings.venv_program("database", "python"), str(Path(__file__).with_name("database_server.py")),
            "--host", "127.0.0.1", "--port", str(settings.MONGODB_PORT),
            "--storage-path", str(settings.DATABASE_STATE), "--log-level", "WARNING",
            *(["--auth"] if authenticate else []),
        ],
        healthy=_database_healthy,
    )
