"""A tier: the size at which the suites are run, in one file.

The file is a campaign file without name, seed, stages and arms, and with one more table, `[tier]`: how much is
trained, and between which learning rates. A tier of your own is a copy of one of ours with other datasets.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from rewarm.campaign.quantities import parse_quantity
from rewarm.campaign.table import Table
from rewarm.errors import CampaignError

TIERS = ("micro", "mini", "paper")
"""The tiers that come with rewarm."""


class Sizes(Table):
    """The table `[tier]`."""

    base: str
    """Budget of the pre-training on D0, in tokens."""
    update: str | dict[str, str]
    """Budget of an update, in tokens; or one for each dataset."""
    max_lr: float = Field(gt=0)
    """Peak of every cosine that does not say otherwise."""
    min_lr: float = Field(gt=0)
    """Its end."""
    larger_preset: str
    """The second model size of the suite `scale`."""
    plan_only: bool = False
    """Whether it is too large to be begun by `rewarm suite run`, which then says what it would cost."""


@dataclass(frozen=True, kw_only=True)
class Tier:
    """A tier file, read."""

    name: str
    """Its name: the file's."""
    sizes: Sizes
    """The table `[tier]`."""
    frame: Mapping[str, Any]
    """All other tables: what the campaigns of the tier have in common."""

    @property
    def base_tokens(self) -> int:
        """Return the budget of the pre-training."""
        return _tokens(self.sizes.base)

    def update_budget(self, *datasets: str) -> str:
        """Return the budget of an update on some datasets in equal shares: the least of theirs.

        Raises:
            CampaignError: the tier has no budget for a dataset.
        """
        by_dataset = self.sizes.update
        if isinstance(by_dataset, str):
            return by_dataset
        for dataset in datasets:
            if dataset not in by_dataset:
                raise CampaignError(
                    f"tier {self.name!r}: [tier] update has no budget for {dataset!r}, which this suite trains "
                    f"on; it has {', '.join(by_dataset)}. Add one, or give one budget for all"
                )
        return min((by_dataset[dataset] for dataset in datasets), key=_tokens)

    def update_tokens(self, *datasets: str) -> int:
        """Return the same in tokens."""
        return _tokens(self.update_budget(*datasets))

    def campaign(
        self, name: str, seed: int, datasets: Iterable[str], rest: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a whole campaign: the frame with some of its datasets, and the rest.

        Raises:
            CampaignError: the tier lacks a dataset.
        """
        wanted = list(datasets)
        missing = [dataset for dataset in wanted if dataset not in self.frame["data"]]
        if missing:
            raise CampaignError(
                f"tier {self.name!r}: there is no dataset {', '.join(missing)}, which this suite compares; add "
                f"[data.{missing[0]}] to the tier's file"
            )
        data = {dataset: self.frame["data"][dataset] for dataset in wanted}
        return {"name": name, "seed": seed, **self.frame, "data": data, **rest}


def _tokens(budget: str) -> int:
    return int(parse_quantity(budget).amount)


def read_tier(name: str) -> Tier:
    """Read a tier by name, or from a file of the user's.

    Args:
        name: micro, mini, paper, or the path of a TOML file.

    Raises:
        CampaignError: there is no such tier, or its file has a mistake.
    """
    path = Path(name)
    if name in TIERS:
        text = files("rewarm.suites.tiers").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    elif path.suffix == ".toml" and path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        raise CampaignError(
            f"there is no tier {name!r}; there are {', '.join(TIERS)}, or give the path of a TOML file"
        )
    try:
        raw = tomllib.loads(text, parse_float=Decimal)
        sizes = Sizes.model_validate(raw.pop("tier", None))
    except tomllib.TOMLDecodeError as error:
        raise CampaignError(f"{name}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise CampaignError(f"{name}: [tier] is missing or wrong: {error}") from error
    return Tier(name=path.stem, sizes=sizes, frame=raw)
