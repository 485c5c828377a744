"""Tensors come back from disk as they were, layouts included."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.machine.checkpoint import read_checkpoint, write_checkpoint

CPU = torch.device("cpu")
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool])
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@given(tensors=st.dictionaries(st.text(max_size=5), st.tuples(dtypes, shapes), max_size=5), turned=st.booleans())
def test_what_is_written_comes_back_in_every_type_shape_and_layout(
    tensors: dict[str, tuple[torch.dtype, tuple[int, ...]]], turned: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    group = {}
    for name, (dtype, shape) in tensors.items():
        tensor = (torch.rand(shape) * 9).to(dtype)
        is_image = turned and tensor.dim() == 4
        group[name] = tensor.contiguous(memory_format=torch.channels_last) if is_image else tensor
    path = tmp_path_factory.mktemp("checkpoint") / "state.pt"
    write_checkpoint(path, {"steps": 3, "epochs": [{"loss": 0.1}]}, {"one": group, "none": {}})
    values, groups = read_checkpoint(path, CPU)
    assert values == {"steps": 3, "epochs": [{"loss": 0.1}]}
    assert groups["none"] == {}
    assert groups["one"].keys() == group.keys()
    for name, tensor in groups["one"].items():
        assert tensor.dtype == group[name].dtype
        assert tensor.stride() == group[name].stride()
        assert torch.equal(tensor, group[name])


def test_a_tensor_that_was_read_can_be_kept_without_the_others(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "state.pt", {}, {"both": {"small": torch.ones(2), "large": torch.ones(1000)}})
    _, groups = read_checkpoint(tmp_path / "state.pt", CPU)
    assert groups["both"]["small"].untyped_storage().nbytes() == 8
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]
