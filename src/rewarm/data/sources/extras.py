"""Packages that only some sources need."""

from importlib import import_module
from types import ModuleType

from rewarm.errors import DataError


def extra(module: str, what: str) -> ModuleType:
    """Return an optional module.

    Args:
        module: its name.
        what: what it is needed for, in words.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise DataError(
            f"{what} needs the package {package}, which cannot be imported ({error}). Install it"
            " with: pip install 'rewarm[data]'"
        ) from error
