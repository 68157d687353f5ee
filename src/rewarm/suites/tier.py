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
    update: str
    """Budget of an update, in tokens."""
    max_lr: float = Field(gt=0)
    """Peak of every cosine that does not say otherwise."""
    min_lr: float = Field(gt=0)
    """Its end."""
    larger_preset: str
    """The second model size of the suite `scale`."""


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
        return int(parse_quantity(self.sizes.base).amount)

    @property
    def update_tokens(self) -> int:
        """Return the budget of an update."""
        return int(parse_quantity(self.sizes.update).amount)

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
