"""Campaign files to start from, as `rewarm init` writes them."""

from importlib.resources import files

from rewarm.errors import CampaignError

STARTERS = {
    "scratch": "pre-train on old data, then update on new data, in arms",
    "hugging-face": "update a Hugging Face model on new data",
    "quickstart": "the quickstart's own campaign",
}
"""Names of the starters, and what each is for."""


def starter_text(name: str) -> str:
    """Return the campaign file of a starter.

    Raises:
        CampaignError: there is no such starter.
    """
    if name not in STARTERS:
        known = "; ".join(f"{starter}: {purpose}" for starter, purpose in STARTERS.items())
        raise CampaignError(f"there is no starter {name!r}; there are: {known}")
    return (files("rewarm.campaign.starters") / f"{name}.toml").read_text(encoding="utf-8")
