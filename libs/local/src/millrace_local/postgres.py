"""A real PostgreSQL on this machine, run by an ordinary user even when we are root."""

import re
import secrets
import shutil
import signal
import socket
import stat
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from millrace_local.errors import LocalServerError, MissingToolError
from millrace_local.identity import identity_of, unprivileged_user
from millrace_local.probes import wait_until

INSTALL_HINT = "On Debian: apt-get install --no-install-recommends postgresql"
_DEBIAN = Path("/usr/lib/postgresql")
_PROTOCOL_3 = 196608
_INITDB_TIMEOUT_SECONDS = 120


def find_postgres(debian: Path = _DEBIAN) -> Path:
    """The folder of the server's programs: Debian's newest, else that of `initdb` on the PATH."""
    versions = [folder for folder in debian.glob("*/bin") if _has_server(folder)]
    if versions:
        return max(
            versions,
            key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.parent.name)],
        )
    on_path = shutil.which("initdb")
    folder = Path(on_path).resolve().parent if on_path else None
    if folder is None or not _has_server(folder):
        raise MissingToolError(
            f"No PostgreSQL server found: neither {debian}/*/bin nor the PATH has initdb and postgres. {INSTALL_HINT}"
        )
    return folder


@dataclass(frozen=True, slots=True)
class LocalPostgres:
    """One PostgreSQL cluster in `home`, on 127.0.0.1 only, superuser `postgres` with a password of its own.

    When we are root, `home` and all folders above it must be open to others (a folder of /tmp, say): the server runs
    as an ordinary user and could not reach it otherwise.
    """

    home: Path
    port: int
    programs: Path = field(default_factory=find_postgres)
    run_as: str | None = field(default_factory=unprivileged_user)

    name = "postgres"
    stop_signal = signal.SIGINT  # the "fast" shutdown: SIGTERM would wait for every client to leave

    def url(self, database: str = "postgres") -> str:
        """What SQLAlchemy connects to."""
        return f"postgresql+psycopg://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def password(self) -> str:
        """The superuser's password; made by `prepare`."""
        return self._password_file.read_text().strip()

    def prepare(self) -> None:
        """Create the cluster if it isn't there."""
        self.home.mkdir(parents=True, exist_ok=True)
        if self.run_as is not None:
            _require_reachable(self.home, self.run_as)
            shutil.chown(self.home, self.run_as)
        self.home.chmod(0o700)
        if (self._data / "PG_VERSION").exists() and not self._unfinished.exists():
            return
        self._unfinished.touch()
        shutil.rmtree(self._data, ignore_errors=True)  # of an attempt that was killed half-way
        self._write_password()
        self._initdb()
        self._unfinished.unlink()

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
        }
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [
            str(self.programs / "postgres"),
            "-D",
            str(self._data.resolve()),
            "-p",
            str(self.port),
            *flags,
        ]

    def environment(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8"}

    def ready(self, timeout: float) -> bool:
        """Whether it asks a client for its password, which it does only when it can serve."""
        return wait_until(lambda: _asks_for_password(self.port), timeout)

    @property
    def _data(self) -> Path:
        return self.home / "data"

    @property
    def _password_file(self) -> Path:
        return self.home / "password"

    @property
    def _unfinished(self) -> Path:
        return self.home / "unfinished"

    def _write_password(self) -> None:
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(16))
        if self.run_as is not None:
            shutil.chown(self._password_file, self.run_as)

    def _initdb(self) -> None:
        flags = [
            "--username=postgres",
            "--auth=scram-sha-256",
            f"--pwfile={self._password_file.resolve()}",
        ]
        locale = ["--encoding=UTF8", "--locale=C.UTF-8"]
        answer = subprocess.run(
            [str(self.programs / "initdb"), "-D", str(self._data.resolve()), *flags, *locale],
            capture_output=True,
            text=True,
            check=False,
            timeout=_INITDB_TIMEOUT_SECONDS,
            cwd="/",
            **identity_of(self.run_as),
        )
        if answer.returncode != 0:
            raise LocalServerError(
                f"PostgreSQL could not create a cluster in {self._data}:\n{(answer.stdout + answer.stderr).strip()}"
            )


def _has_server(folder: Path) -> bool:
    return all((folder / program).exists() for program in ("initdb", "postgres"))


def _require_reachable(home: Path, user: str) -> None:
    closed = [
        folder for folder in home.resolve().parents if not folder.stat().st_mode & stat.S_IXOTH
    ]
    if closed:
        raise LocalServerError(
            f"We are root, PostgreSQL runs as `{user}`, and `{user}` can't pass through {closed[-1]} to reach {home}: "
            "use a folder below /tmp, or run this as an ordinary user."
        )


def _asks_for_password(port: int) -> bool:
    """Whether the answer to a start-up message is an authentication request ('R'), not 'E' (still starting)."""
    parameters = b"user\0postgres\0\0"
    message = struct.pack(">ii", 8 + len(parameters), _PROTOCOL_3) + parameters
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(message)
            return connection.recv(1) == b"R"
    except OSError:
        return False  # not listening yet
