"""Training in these tests uses one thread."""

import pytest


@pytest.fixture(autouse=True)
def quiet(one_thread: None) -> None:
    """See `one_thread`."""
