"""The campaign file: what is to be done, as frozen values with units, defaults and helpful errors."""

from rewarm.campaign.campaign import Campaign, Replay, Stage
from rewarm.campaign.datasets import Dataset, Domain, HeldOut, IndexMaps, Text
from rewarm.campaign.load import LoadedCampaign, load_campaign
from rewarm.campaign.presets import PRESETS, Preset
from rewarm.campaign.quantities import Quantity, parse_quantity

__all__ = [
    "PRESETS",
    "Campaign",
    "Dataset",
    "Domain",
    "HeldOut",
    "IndexMaps",
    "LoadedCampaign",
    "Preset",
    "Quantity",
    "Replay",
    "Stage",
    "Text",
    "load_campaign",
    "parse_quantity",
]
