"""Stages and schedules that several suites have in common, so that their runs have the very same stages."""

from typing import Any

from rewarm.suites.tier import Tier

BASE = "pretrain"
"""The pre-training on D0 that every update starts from."""
UPDATE = "update"
"""The update on D1."""


def cosine(tier: Tier, *, peak: float = 1.0, warmup: str = "1%") -> dict[str, Any]:
    """Return the tier's cosine, or one with another peak; min_lr is in proportion (paper section 6.1)."""
    return {
        "kind": "cosine",
        "max_lr": _rounded(peak * tier.sizes.max_lr),
        "min_lr": _rounded(peak * tier.sizes.min_lr),
        "warmup": warmup,
    }


def constant(tier: Tier, *, at_max: bool, warmup: str = "0%") -> dict[str, Any]:
    """Return a constant rate: min_lr, or max_lr with a warmup."""
    lr = tier.sizes.max_lr if at_max else tier.sizes.min_lr
    return {"kind": "constant", "lr": lr, "warmup": warmup}


def infinite(tier: Tier, shape: str, **lengths: str) -> dict[str, Any]:
    """Return the tier's infinite schedule; constant_lr is half-way between max and min (paper Table 14)."""
    return {
        "kind": "infinite",
        "max_lr": tier.sizes.max_lr,
        "constant_lr": _rounded((tier.sizes.max_lr + tier.sizes.min_lr) / 2),
        "min_lr": tier.sizes.min_lr,
        "warmup": "1%",
        "cooldown_shape": shape,
        **lengths,
    }


def base(tier: Tier, schedule: dict[str, Any] | None = None, *, name: str = BASE) -> dict[str, Any]:
    """Return the pre-training on D0."""
    return {
        "name": name,
        "data": {"d0": 1},
        "budget": tier.sizes.base,
        "schedule": schedule or cosine(tier),
    }


def update(tier: Tier, *data: str, **changes: object) -> dict[str, Any]:
    """Return an update on some datasets in equal shares, re-warmed to the tier's peak, without replay."""
    return {
        "name": UPDATE,
        "data": dict.fromkeys(data, 1),
        "budget": tier.update_budget(*data),
        "schedule": cosine(tier),
        **changes,
    }


def tokens(amount: float) -> str:
    """Return an amount of tokens as a campaign file writes it.

    >>> tokens(1_500_000)
    '1_500_000 tokens'
    """
    return f"{int(amount):_} tokens"


def _rounded(rate: float) -> float:
    """Return a rate without the last bits of a product."""
    return float(f"{rate:.6g}")
