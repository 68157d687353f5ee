"""Files that we write are read by the safetensors library, bit for bit."""

import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rewarm.engine.tensor_file import write_tensors

TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
    torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


def same_bits(one, other):
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(TYPES), st.lists(st.integers(0, 4), max_size=3)),
        max_size=5,
    )
)
def test_the_library_reads_what_was_written(tmp_path_factory, kinds):
    tensors = {name: (torch.rand(shape) * 100).to(dtype) for name, (dtype, shape) in kinds.items()}
    path = tmp_path_factory.mktemp("tensors") / "some.safetensors"
    written = write_tensors(path, tensors)
    content = path.read_bytes()
    assert written.num_bytes == len(content)
    assert written.sha256 == hashlib.sha256(content).hexdigest()
    back = load_file(path)
    assert back.keys() == tensors.keys()
    assert all(same_bits(back[name], tensor) for name, tensor in tensors.items())


def test_views_not_numbers_and_infinities_keep_their_values(tmp_path):
    base = torch.tensor([[1.0, float("nan"), -0.0], [float("inf"), 1e-45, 2.0]])
    tensors = {"transposed": base.T, "strided": base[:, ::2], "parameter": torch.nn.Parameter(base)}
    write_tensors(tmp_path / "t.safetensors", tensors)
    back = load_file(tmp_path / "t.safetensors")
    assert same_bits(back["transposed"], base.T.contiguous())
    assert same_bits(back["strided"], base[:, ::2].contiguous())
    assert same_bits(back["parameter"], base)


def test_the_bytes_are_the_library_s(tmp_path):
    tensors = {"b": torch.arange(3), "a": torch.rand(2, 2), "c": torch.rand(3).bfloat16()}
    write_tensors(tmp_path / "ours", tensors)
    save_file(tensors, tmp_path / "library", metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "library").read_bytes()


def test_an_existing_file_is_not_written_over(tmp_path):
    (tmp_path / "t").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        write_tensors(tmp_path / "t", {})
    assert (tmp_path / "t").read_bytes() == b"precious"
