"""Running the `rewarm` command in this process, as a shell would see it, and looking at what it leaves."""

import io
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from rewarm.cli import main

QUICK = ("--device", "cpu", "--threads", "1")
"""Options of training in these tests."""


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    """Exit code."""
    out: str
    """Standard output."""
    err: str
    """Standard error."""


def rewarm(*arguments: object) -> Done:
    """Run a command; what would be a traceback escapes as the exception that it is."""
    out, err = io.StringIO(), io.StringIO()
    argv = sys.argv
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    sys.argv = ["rewarm", *map(str, arguments)]
    code: object = 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.argv = argv
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert isinstance(code, int)
    return Done(code, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Workplace:
    """A folder with the tiny campaign, its text, its tokens and its run."""

    folder: Path
    """Holds campaign.toml, the text, prepared/ and runs/."""

    @property
    def file(self) -> Path:
        return self.folder / "campaign.toml"

    @property
    def prepared(self) -> Path:
        return self.folder / "prepared"

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "tiny"

    def train(self, *arguments: object, file: Path | None = None) -> Done:
        """Carry the campaign out here; another file of the same text may take the place of its own."""
        folders = ("--runs", self.run.parent, "--prepared", self.prepared, "--root", self.folder)
        return rewarm("train", file or self.file, *folders, "--workers", 1, *QUICK, *arguments)

    def prepare(self, *arguments: object) -> Done:
        """Prepare the campaign's text."""
        folders = ("--prepared", self.prepared)
        return rewarm("prepare", self.file, *folders, "--workers", 1, *arguments)

    def anneal(self, *arguments: object) -> Done:
        """Branch off the run."""
        return rewarm("anneal", self.run, "--prepared", self.prepared, *QUICK, *arguments)

    def stage(self, name: str) -> Path:
        """Return the folder of the only stage of this name."""
        (folder,) = self.run.glob(f"stages/{name}-????????")
        return folder

    def contents(self) -> dict[str, bytes]:
        """Return every file; what a lock file says does not count."""
        return contents(self.folder)

    def results(self) -> dict[str, bytes]:
        """Return what must never be lost: all that finished stages wrote, and every checkpoint."""
        finished = [path.parent.name for path in self.run.glob("stages/*/result.json")]
        return {
            name: content
            for name, content in contents(self.run).items()
            if "/checkpoints/" in name or any(f"/{stage}/" in f"/{name}" for stage in finished)
        }


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder but the locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("lock")
    }


def flip_a_bit(path: Path) -> None:
    """Damage a file in its middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
