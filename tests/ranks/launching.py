"""Running a function of a test on several ranks: processes of their own, which find each other through a store.

Starting a rank takes seconds, so a launch runs many cases, and each leaves its result in a file.
"""

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

ROOT = Path(__file__).parents[2]
SECONDS = 60
"""How long a rank waits for another."""


def on_ranks(
    size: int, function: Callable[..., Any], folder: Path, *arguments: Any, seconds: int = 600
) -> list[Any]:
    """Call `function(world, *arguments)` on every rank, and return what the ranks returned, as JSON values.

    Args:
        size: number of ranks, each with one thread.
        function: of a module that can be imported by name.
        folder: for the results.
        arguments: JSON values.
        seconds: after which the ranks are ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    task = json.dumps([function.__module__, function.__name__, str(folder), list(arguments)])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.ranks.launching", task],
            cwd=ROOT,
            env=os.environ
            | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "LOCAL_WORLD_SIZE": str(size),
                "REWARM_STORE": f"127.0.0.1:{store.port}",
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(size)
    ]
    try:
        codes = [rank.wait(timeout=seconds) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    errors = [(folder / f"{rank}.error").read_text() for rank, code in enumerate(codes) if code]
    assert not errors, "\n".join(errors)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]


def _main(task: str) -> None:
    from rewarm.engine.world import current_world

    module, name, folder, arguments = json.loads(task)
    rank = os.environ["RANK"]
    try:
        world = current_world("cpu", 1, timeout_seconds=SECONDS)
        result = getattr(importlib.import_module(module), name)(world, *arguments)
        (Path(folder) / f"{rank}.json").write_text(json.dumps(result))
    except BaseException:
        (Path(folder) / f"{rank}.error").write_text(f"rank {rank}:\n{traceback.format_exc()}")
        sys.stderr.flush()
        os._exit(1)  # the others are waiting for this one
    world.ranks.leave()


if __name__ == "__main__":
    _main(sys.argv[1])
