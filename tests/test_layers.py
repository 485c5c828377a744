from dataclasses import FrozenInstanceError

import pytest

from nas.network.layers import KINDS, Activation, BatchNorm, Conv, Linear, Pool, Sequence, sequence


def test_a_convolution_keeps_the_resolution_unless_told_otherwise() -> None:
    assert Conv(3, 8, 3).padding == 1
    assert Conv(3, 8, 7).padding == 3
    assert Conv(3, 8, 3, dilation=2).padding == 2
    assert Conv(3, 8, 3, padding=0).padding == 0


def test_a_convolution_says_the_same_with_its_padding_written_out() -> None:
    assert Conv(3, 8, 5) == Conv(3, 8, 5, padding=2)
    assert hash(Conv(3, 8, 5)) == hash(Conv(3, 8, 5, padding=2))


def test_a_pool_strides_by_its_size_unless_told_otherwise() -> None:
    assert Pool("max", 3) == Pool("max", 3, stride=3)
    assert Pool("max", 3, stride=2).stride == 2


def test_layers_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Linear(8, 10).outputs = 11  # type: ignore[misc]


def test_the_name_of_a_sequence_does_not_tell_networks_apart() -> None:
    assert Sequence((BatchNorm(4),), "stem") == Sequence((BatchNorm(4),), "head")
    assert Sequence((BatchNorm(4),)) != Sequence((BatchNorm(5),))


def test_unnamed_sequences_unfold_and_named_ones_stay() -> None:
    named = Sequence((Activation(),), "head")
    assert sequence([Sequence((BatchNorm(4), Activation())), named, Linear(4, 2)], "all").layers == (
        BatchNorm(4),
        Activation(),
        named,
        Linear(4, 2),
    )


def test_every_kind_of_layer_is_known_by_its_name() -> None:
    assert sorted(KINDS) == [
        "Activation",
        "BatchNorm",
        "Concat",
        "Conv",
        "Dropout",
        "Flatten",
        "GlobalPool",
        "Identity",
        "Linear",
        "Pool",
        "Product",
        "QuadraticLinear",
        "Residual",
        "Scale",
        "Sequence",
        "Shift",
        "SignLinear",
        "Slice",
        "SqueezeExcitation",
        "Subsample",
        "Tied",
    ]
    assert KINDS["Conv"] is Conv
