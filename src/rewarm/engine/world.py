"""Where training runs: the ranks, the device of this one, its precision, and what decides the bits it computes.

A rank is a process with one device. A world of one has no process group; everything else is the same.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

import torch

from rewarm.engine.ranks import ALONE, Ranks, join_ranks
from rewarm.errors import CampaignError

Precision = Literal["fp32", "bf16", "fp16"]
"""Of the matrix products; weights, softmax and optimizer are float32 in all."""

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class World:
    """The machine as training sees it."""

    device: torch.device
    """Where the model lives: `cpu`, or a CUDA device with its index."""
    threads: int
    """CPU threads inside an operation."""
    ranks: Ranks = ALONE
    """This rank among the others."""


def current_world(
    device: str | None = None, threads: int | None = None, *, timeout_seconds: int = 600
) -> World:
    """Join the other ranks if there are any, choose the device, and set torch's number of CPU threads.

    Args:
        device: `cpu`, `cuda` or `cuda:1`; None takes a GPU where there is one, else the CPU. Of several
            ranks on a machine each takes the GPU of its number there.
        threads: at least 1; None keeps torch's, or divides the cores among the ranks of a machine.
        timeout_seconds: how long a rank waits for the others before it counts them as lost.

    Raises:
        CampaignError: the device is not here or not supported, or the number of threads is below 1.
    """
    if threads is not None and threads < 1:
        raise CampaignError(f"{threads} threads cannot compute anything; ask for 1 or more.")
    place = _device(device)
    ranks = join_ranks(place.type, timeout_seconds)
    if ranks.size > 1 and place.type == "cuda" and device not in (None, "cuda"):
        raise CampaignError(
            f"The device {device} is asked for, but each of several ranks takes the GPU of its own number. Ask "
            "for cuda, and choose GPUs with CUDA_VISIBLE_DEVICES."
        )
    if ranks.size > 1 and place.type == "cuda":
        place = _device(f"cuda:{ranks.local_rank}")
        torch.cuda.set_device(place)
    if threads is None and ranks.local_size > 1:
        threads = max(1, torch.get_num_threads() // ranks.local_size)
    if threads is not None:
        torch.set_num_threads(threads)
    return World(device=place, threads=torch.get_num_threads(), ranks=ranks)


def autocast(world: World, precision: Precision) -> torch.autocast:
    """Return the context in which forward passes run.

    Args:
        world: where they run.
        precision: `bf16` and `fp16` make matrix products of that type; `fp32` also ends an outer autocast.

    Raises:
        CampaignError: the GPU has no bfloat16 arithmetic.
    """
    wanted = _TYPES.get(precision)
    is_cuda = world.device.type == "cuda"
    if wanted == torch.bfloat16 and is_cuda and not torch.cuda.is_bf16_supported(False):
        raise CampaignError(
            f"{torch.cuda.get_device_name(world.device)} has no bfloat16 arithmetic, and emulating it would "
            "be slower than float32. Use precision fp32 or fp16."
        )
    return torch.autocast(
        world.device.type, dtype=wanted or torch.bfloat16, enabled=wanted is not None
    )


def fingerprint(world: World, precision: Precision) -> dict[str, str | int]:
    """Return what decides the bits: two runs are promised to be equal only where all of this is.

    Args:
        world: where the run is.
        precision: of its matrix products.
    """
    found: dict[str, str | int] = {
        "torch": str(torch.__version__),
        "device": world.device.type,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": world.threads,
        "ranks": world.ranks.size,
        "precision": precision,
        "float32_products": torch.get_float32_matmul_precision(),
    }
    if world.device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(world.device)
        found["gpu"] = torch.cuda.get_device_name(world.device)
        found["gpu_capability"] = f"{major}.{minor}"
        found["cuda"] = str(torch.version.cuda)
        found["cudnn"] = torch.backends.cudnn.version() or 0
    return found


def derive_seed(seed: int, *labels: str) -> int:
    """Derive a seed for one purpose, so that no two purposes share a random stream.

    The first 63 bits of SHA-256 over the seed and the labels, which may hold any text.

    Args:
        seed: of the campaign.
        labels: what the seed is for, such as a stage's name and "dropout".

    Returns:
        A seed in [0, 2^63).

    >>> derive_seed(1234, "update", "dropout")
    7830460017144114226
    >>> derive_seed(1234, "update", "order") == derive_seed(1234, "updateorder")
    False
    """
    digest = hashlib.sha256(json.dumps([seed, *labels]).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _device(name: str | None) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CampaignError(f"{name!r} is no device; use cpu, cuda or cuda:<number>.") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type != "cuda":
        raise CampaignError(f"The device {name} is not supported; use cpu, cuda or cuda:<number>.")
    if not torch.cuda.is_available():
        raise CampaignError(
            f"The device {name} is asked for, but torch finds no GPU here. Use cpu."
        )
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise CampaignError(
            f"The device {name} is asked for; here are {torch.cuda.device_count()}."
        )
    return torch.device("cuda", index)
