"""Device, precision, fingerprint and seeds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewarm.engine.world import World, autocast, current_world, derive_seed, fingerprint
from rewarm.errors import CampaignError

CPU = World(device=torch.device("cpu"), threads=1)


def test_the_default_is_a_gpu_where_there_is_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert current_world().device.type == expected
    assert current_world("cpu").device == torch.device("cpu")


def test_threads_are_set_and_reported():
    assert current_world("cpu", threads=2).threads == torch.get_num_threads() == 2
    assert current_world("cpu").threads == 2


@pytest.mark.parametrize(
    ("device", "threads", "reason"),
    [
        ("cpu", 0, "0 threads"),
        ("tpu0", None, "no device"),
        ("meta", None, "not supported"),
        ("cuda:99", None, "asked for"),
    ],
)
def test_what_is_not_here_is_refused(device, threads, reason):
    with pytest.raises(CampaignError, match=reason):
        current_world(device, threads)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_here_is_refused():
    with pytest.raises(CampaignError, match="finds no GPU"):
        current_world("cuda")


def test_precision_is_that_of_the_matrix_products():
    matrix = torch.eye(3)
    with autocast(CPU, "bf16"):
        assert (matrix @ matrix).dtype == torch.bfloat16
        assert matrix.softmax(0).dtype == torch.float32
        with autocast(CPU, "fp32"):
            assert (matrix @ matrix).dtype == torch.float32
    with autocast(CPU, "fp32"):
        assert (matrix @ matrix).dtype == torch.float32


def test_the_fingerprint_names_what_decides_the_bits():
    found = fingerprint(CPU, "bf16")
    assert found["torch"] == torch.__version__
    assert found["threads"] == 1
    assert found["precision"] == "bf16"
    assert found != fingerprint(CPU, "fp32")
    assert found != fingerprint(World(device=CPU.device, threads=2), "bf16")
    assert all(type(value) in (str, int) for value in found.values())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_gpu_is_in_the_fingerprint():
    assert {"gpu", "gpu_capability", "cuda"} <= set(fingerprint(current_world("cuda"), "bf16"))


@given(st.integers(0, 2**63 - 1), st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_seeds_are_63_bits_and_differ_between_purposes(seed, labels, others):
    derived = derive_seed(seed, *labels)
    assert 0 <= derived < 2**63
    assert derived == derive_seed(seed, *labels)
    assert (derived == derive_seed(seed, *others)) == (labels == others)


def test_seeds_never_change():
    """Source: printf '[1234, "update", "dropout"]' | sha256sum, first 16 digits, halved."""
    assert derive_seed(1234, "update", "dropout") == 0xD956C3CBCB8C5864 >> 1
