"""Several ranks on one machine, watched: started together, ended together, and begun again after a crash.

The first rank writes to the terminal, the others to files. A fresh start is a new set of processes, which go
on from the newest good checkpoint; a process that is still alive is never patched up.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from rewarm.engine.ranks import STORE
from rewarm.errors import CampaignError, GateError, LockedError, RankLostError, StorageError
from rewarm.runs.files import write_record
from rewarm.runs.folder import RunFolder
from rewarm.runs.lock import locked
from rewarm.runs.records import ExitRecord
from rewarm.training.journal import now
from rewarm.training.signals import EXIT_CODES

GRACE_SECONDS = 10.0
"""How long the others have to end by themselves after a rank has ended with an error."""

_RESTART = "REWARM_RESTART"
"""Environment variable that tells a rank why all were started afresh; empty at the first start."""

_POLL_SECONDS = 0.05
_HOST = "127.0.0.1"
_LOOPBACK = Path("/sys/class/net/lo")
"""Where Linux has the network that does not leave the machine."""

_WOULD_COME_AGAIN = (*range(2, RankLostError.exit_code), GateError.exit_code)
"""Exit codes of mistakes, and of a gate that is broken."""


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """What is watched."""

    command: Sequence[str]
    """Starts one rank; which one it is, the environment says."""
    ranks: int
    """How many."""
    restarts: int
    """Fresh starts after crashes, at most."""
    run: RunFolder
    """Where the ranks but the first print to files, and how it ended is recorded."""
    say: Callable[[str], None]
    """Tells the user."""


def supervise(job: Supervised) -> int:
    """Start the ranks, and start them again after a crash.

    Returns:
        The exit code: that of the error that ended the job, 0 if all is done, 75 or 130 after a signal.

    Raises:
        CampaignError: there is no need for it.
    """
    if job.ranks < 2:
        raise CampaignError("--ranks 1 needs nobody to watch; leave it out")
    job.run.logs.mkdir(parents=True, exist_ok=True)
    job.say(f"starting {job.ranks} ranks; what all but the first print is in {job.run.logs}")
    restart = ""
    # A store that is let go while a late rank asks it would be one more error in that rank's log.
    stores: list[TCPStore] = []
    with _Signals() as signals:
        for attempt in range(job.restarts + 1):
            stores.append(TCPStore(_HOST, 0, is_master=True, wait_for_workers=False))
            ranks = _start(job, attempt, stores[-1].port, restart)
            try:
                first_to_fail = _wait(ranks, signals)
            finally:
                _end(ranks)
            if first_to_fail is None:
                return 0
            code = _exit_code(ranks, first_to_fail, signals)
            if ranks[0].process.returncode != code:  # or else the first has said it on the terminal
                job.say(_ending(first_to_fail, code, signals))
            if signals.come is not None or code in _WOULD_COME_AGAIN:
                return code
            if attempt == job.restarts:
                _record_exit(job.run, code, f"{_fate(first_to_fail)}, and no start was left")
                return code
            restart = f"{_fate(first_to_fail)}; restart {attempt + 1} of {job.restarts}"
            job.say(f"starting {job.ranks} ranks afresh from the last checkpoint: {restart}")
    raise AssertionError("the last attempt returns")


@dataclass
class _Rank:
    """One process."""

    number: int
    process: subprocess.Popen[bytes]
    log: Path | None = field(default=None)


class _Signals:
    """The signals that have come to the supervisor, to be passed on once to every rank."""

    def __init__(self) -> None:
        self.come: signal.Signals | None = None
        self._ranks: Sequence[_Rank] = ()
        self._before = {number: signal.getsignal(number) for number in EXIT_CODES}

    def __enter__(self) -> "_Signals":
        for number in EXIT_CODES:
            signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self, ranks: Sequence[_Rank]) -> None:
        """Say which ranks there are now."""
        self._ranks = ranks
        if self.come is not None:
            self._send(self.come)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self.come = signal.Signals(number)
        self._send(self.come)

    def _send(self, number: signal.Signals) -> None:
        for rank in self._ranks:
            if rank.process.poll() is None:
                rank.process.send_signal(number)


def _start(job: Supervised, attempt: int, port: int, restart: str) -> list[_Rank]:
    """Start all ranks; they find each other by the store at a port of this machine."""
    ranks: list[_Rank] = []
    for number in range(job.ranks):
        environment = os.environ | {
            "RANK": str(number),
            "LOCAL_RANK": str(number),
            "WORLD_SIZE": str(job.ranks),
            "LOCAL_WORLD_SIZE": str(job.ranks),
            STORE: f"{_HOST}:{port}",
            _RESTART: restart,
        }
        if _LOOPBACK.exists():
            for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
                environment.setdefault(variable, _LOOPBACK.name)
        log = (
            None
            if number == 0
            else job.run.logs / f"rank-{number}-of-process-{os.getpid()}-attempt-{attempt}.log"
        )
        output = None if log is None else log.open("wb")
        # In a session of its own, Ctrl-C in the terminal reaches a rank through the supervisor alone.
        process = subprocess.Popen(
            job.command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        if output is not None:
            output.close()
        ranks.append(_Rank(number=number, process=process, log=log))
    return ranks


def _wait(ranks: Sequence[_Rank], signals: _Signals) -> _Rank | None:
    """Wait until all have ended, or until the others have had their time after one failed.

    Returns:
        The first that failed, or None.
    """
    signals.watch(ranks)
    failed: _Rank | None = None
    deadline = float("inf")
    while True:
        running = [rank for rank in ranks if rank.process.poll() is None]
        if failed is None:
            bad = [rank for rank in ranks if rank.process.poll() not in (None, 0)]
            # One that was killed is the cause of what the others say.
            bad.sort(key=lambda rank: rank.process.returncode == RankLostError.exit_code)
            if bad:
                failed = bad[0]
                is_stopping = failed.process.returncode in EXIT_CODES.values()
                deadline = float("inf") if is_stopping else time.monotonic() + GRACE_SECONDS
        if not running or time.monotonic() > deadline:
            return failed
        time.sleep(_POLL_SECONDS)


def _end(ranks: Sequence[_Rank]) -> None:
    """End what still runs; nothing is lost that was committed."""
    for rank in ranks:
        if rank.process.poll() is None:
            rank.process.kill()
        rank.process.wait()
        if rank.process.stdin is not None:
            rank.process.stdin.close()


def _exit_code(ranks: Sequence[_Rank], failed: _Rank, signals: _Signals) -> int:
    """Return the code that says what really happened."""
    codes = [rank.process.returncode for rank in ranks]
    mistakes = [code for code in codes if code in _WOULD_COME_AGAIN]
    if mistakes:
        return mistakes[0]
    if signals.come is not None and (EXIT_CODES[signals.come] in codes or -signals.come in codes):
        return EXIT_CODES[signals.come]
    code = failed.process.returncode
    return 128 - code if code < 0 else code


def _ending(failed: _Rank, code: int, signals: _Signals) -> str:
    """Say how the ranks ended: as they were asked to, or because one failed."""
    if signals.come is not None and code == EXIT_CODES[signals.come]:
        return f"stopped by {signals.come.name}; the same command goes on from the last checkpoint"
    return f"{_fate(failed)}{_last_words(failed)}"


def _fate(rank: _Rank) -> str:
    """Say how a rank ended."""
    code = rank.process.returncode
    if code < 0:
        return f"rank {rank.number} was killed by {signal.Signals(-code).name}"
    if code == RankLostError.exit_code:
        return f"rank {rank.number} got no answer from another (exit code {code})"
    return f"rank {rank.number} ended with exit code {code}"


def _last_words(rank: _Rank) -> str:
    """Return the end of what a rank printed to its file."""
    if rank.log is None:
        return ""
    lines = rank.log.read_text(errors="replace").strip().splitlines()[-3:]
    return f" (see {rank.log})" + "".join(f"\n  {line}" for line in lines)


def _record_exit(run: RunFolder, code: int, reason: str) -> None:
    """Write down how it ended, since the rank that keeps the records may be the one that failed."""
    # Who holds the folder now has begun anew, and a full disk has been complained of.
    with suppress(LockedError, StorageError), locked(run):
        write_record(run.exit, ExitRecord(code=code, reason=reason, at=now()))


def reason_of_restart() -> str | None:
    """In a rank: say once why all were started afresh; None where they were not."""
    return os.environ.pop(_RESTART, None) or None


def end_with_supervisor() -> None:
    """In a rank: end as if by SIGTERM when the supervisor is gone, so that nothing is left behind."""
    if STORE not in os.environ:
        return

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor", daemon=True).start()
