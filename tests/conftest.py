"""What several packages' tests use. The imports are inside, so that the pure packages' tests stay quick."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.tiny import Tiny, write_tiny

# Nothing is timed: how long an example takes says more about the machine than about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Return the tiny campaign, its tokens prepared."""
    from rewarm.campaign import load_campaign
    from rewarm.data.datasets import prepare_campaign

    made = write_tiny(tmp_path_factory.mktemp("tiny"))
    loaded = load_campaign(made.file)
    prepare_campaign(loaded.campaign, loaded.root, made.prepared, workers=1)
    return made


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny tensors are slower on two threads, and the tests run side by side."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
