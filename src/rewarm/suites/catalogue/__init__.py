"""One module for each suite, each with its `SUITE`. A new suite is one more file here."""

from importlib import import_module
from pkgutil import iter_modules

from rewarm.errors import CampaignError
from rewarm.suites.suite import Suite


def suite_names() -> list[str]:
    """Return the names of all suites."""
    return sorted(module.name.replace("_", "-") for module in iter_modules(__path__))


def find_suite(name: str) -> Suite:
    """Return a suite by name.

    Raises:
        CampaignError: there is no such suite.
    """
    if name not in suite_names():
        raise CampaignError(f"there is no suite {name!r}; there are {', '.join(suite_names())}")
    suite: Suite = import_module(f"{__name__}.{name.replace('-', '_')}").SUITE
    return suite
