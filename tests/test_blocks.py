"""The contract of every kind of block: a new one is tested by being in `BLOCKS`."""

from typing import get_args

import pytest
import torch
from exported import plain_module, scores_in_onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import SpaceError
from nas.network.blocks import BLOCKS, WHOLE_STAGES, Block, Shortcut, stage
from nas.network.folds import output_shape, parameters
from nas.network.layers import Function, Sequence
from nas.network.modules.module import to_module

blocks = st.builds(
    Block,
    inputs=st.integers(1, 12),
    outputs=st.integers(1, 12),
    kernel=st.sampled_from([3, 5, 7]),
    stride=st.sampled_from([1, 2]),
    expansion=st.sampled_from([1, 1.5, 2, 2.5, 6]),
    excitation=st.sampled_from([0, 2, 4, 16]),
    function=st.sampled_from(get_args(Function)),
    transition=st.sampled_from(get_args(Shortcut)),
    length=st.integers(1, 4),
)

MANY_FACED = Block(3, 9, 5, 2, 2.5, 2, "silu", "pad", 3)
"""A block in which as much as possible is asked for."""


@pytest.mark.parametrize("kind", BLOCKS)
@settings(max_examples=40, deadline=None)
@given(block=blocks, side=st.integers(1, 9))
@torch.no_grad()
def test_a_block_has_the_counts_the_shape_and_the_source_of_its_module(kind: str, block: Block, side: int) -> None:
    network, shape = BLOCKS[kind](block), (block.inputs, side, side + 1)
    module = to_module(network).eval()
    images = torch.randn(2, *shape)
    scores = module(images.clone())
    assert parameters(network) == sum(p.numel() for p in module.parameters())
    assert output_shape(network, shape) == scores.shape[1:]
    assert scores.shape[1:] == (block.outputs, -(-side // block.stride), -(-(side + 1) // block.stride))
    written = plain_module(network, shape)
    written.load_state_dict(module.state_dict())
    torch.testing.assert_close(written(images), scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", BLOCKS)
@torch.no_grad()
def test_a_block_computes_the_same_in_onnx(kind: str) -> None:
    shape = (3, 7, 8)
    module = plain_module(BLOCKS[kind](MANY_FACED), shape)
    images = torch.randn(3, *shape)
    torch.testing.assert_close(scores_in_onnx(module, shape, images), module(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", BLOCKS)
def test_the_first_block_of_a_stage_changes_width_and_resolution_and_the_others_are_one_object(kind: str) -> None:
    made = stage(kind, 3, 4, 6, kernel=3, stride=2, expansion=2, name="stage 1")
    if kind in WHOLE_STAGES:
        assert made == BLOCKS[kind](Block(4, 6, 3, 2, 2, length=3))
        return
    first, rest = BLOCKS[kind](Block(4, 6, 3, 2, 2)), BLOCKS[kind](Block(6, 6, 3, 1, 2))
    assert made == Sequence((*first.layers, *rest.layers, *rest.layers))
    assert BLOCKS[kind](Block(4, 6, 3, 2, 2)) is first


def test_a_kind_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(SpaceError) as caught:
        stage("conve", 1, 3, 8, kernel=3, stride=1)
    assert str(caught.value) == f"a kind of block must be one of {', '.join(BLOCKS)} but is 'conve'"
    with pytest.raises(SpaceError, match="excitation must be a ratio, 4 or so, or 0 for no gate, but is True"):
        stage("conv", 1, 3, 8, kernel=3, stride=1, excitation=True)
    assert list(BLOCKS)[:5] == ["conv", "basic", "bottleneck", "inverted", "depthwise"], "as golden files know it"
