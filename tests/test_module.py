import copy
from typing import Any

import numpy as np
import pytest
import torch
from drawn import shipped
from torch import Tensor, nn

from nas.network.folds import parameters
from nas.network.layers import (
    Activation,
    BatchNorm,
    Concat,
    Conv,
    Dropout,
    Flatten,
    GlobalPool,
    Identity,
    Layer,
    Linear,
    Pool,
    Product,
    QuadraticLinear,
    Residual,
    Sequence,
    Shape,
    Shift,
    SignLinear,
    Slice,
    SqueezeExcitation,
    Subsample,
    Tied,
)
from nas.network.modules.module import LeanConv2d, LeanResidual, LeanSubsample, lean, to_module
from nas.network.modules.parts import signs
from nas.network.modules.source import torch_source
from nas.space.budget import Budget
from nas.space.draw import draw, fit
from nas.space.files import shipped_spaces


def random_images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def results(conv: nn.Module, images: Tensor) -> list[Tensor]:
    """Output, and the gradients of a weighted sum of it with respect to images, weight and bias."""
    images = images.clone().requires_grad_()
    output = conv(images)
    (output * random_images(*output.shape)).sum().backward()
    gradients = [images.grad, *(p.grad for p in conv.parameters())]
    return [output.detach(), *(g for g in gradients if g is not None)]


def both_convolutions(side: tuple[int, int], **settings: Any) -> tuple[list[Tensor], list[Tensor]]:
    """What ours comes to, and what torch's does."""
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, **settings)
    ours = LeanConv2d(4, 6, **settings)
    ours.load_state_dict(plain.state_dict())
    images = random_images(2, 4, *side)
    return results(ours, images), results(plain, images)


SIDES = [(1, 1), (2, 1), (1, 2), (2, 2), (3, 3), (1, 4), (5, 2), (8, 8), (7, 9)]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7])
def test_a_lean_convolution_computes_what_a_plain_one_does(kernel: int, stride: int) -> None:
    compared = 0
    for side in SIDES:
        for padding in range(kernel // 2 + 2):
            for groups in (1, 2):
                if min(side) + 2 * padding < kernel:
                    continue
                ours, plain = both_convolutions(side, kernel_size=kernel, stride=stride, padding=padding, groups=groups)
                torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)
                compared += 1
    assert compared >= 20


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("more", [0, 1, 2])
@pytest.mark.parametrize("dilation", [2, 3])
@pytest.mark.parametrize("side", SIDES)
def test_a_lean_convolution_dilates_as_a_plain_one_does(
    side: tuple[int, int], dilation: int, more: int, stride: int
) -> None:
    settings = {"kernel_size": 3, "padding": dilation + more, "dilation": dilation, "stride": stride}
    ours, plain = both_convolutions(side, **settings)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", [(1, 7), (3, 1), (2, 5), (7, 7)])
@pytest.mark.parametrize("side", SIDES)
def test_any_module_can_be_made_lean(side: tuple[int, int], kernel: tuple[int, int]) -> None:
    torch.manual_seed(0)
    padding = (kernel[0] // 2, kernel[1] // 2)
    plain = nn.Sequential(nn.Conv2d(4, 6, kernel, (2, 1), padding), nn.ReLU(), nn.Conv2d(6, 2, 1, 2))
    made_lean = lean(copy.deepcopy(plain))
    assert [type(part) for part in made_lean.children()] == [LeanConv2d, nn.ReLU, LeanConv2d]
    images = random_images(2, 4, *side)
    torch.testing.assert_close(results(made_lean, images), results(plain, images), rtol=1e-4, atol=1e-5)


NARROW = [
    ((1, 1), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 1), {"kernel_size": 2, "stride": 2, "padding": 1}),
    ((4, 1), {"kernel_size": 5, "stride": 2, "padding": 2}),
    ((8, 2), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((6, 4), {"kernel_size": 3, "stride": 2, "padding": 0}),
    ((2, 2), {"kernel_size": 3, "stride": 3, "padding": 1}),
    ((4, 2), {"kernel_size": 3, "stride": 2, "padding": 2, "dilation": 2}),
]
"""Images and strided convolutions of them whose output is one position wide."""


@pytest.mark.parametrize(("side", "settings"), NARROW)
def test_convolutions_to_one_column_come_to_what_they_should_in_bf16(
    side: tuple[int, int], settings: dict[str, Any]
) -> None:
    """oneDNN's own are garbage often enough to spoil one of ten runs."""
    for _ in range(10):
        conv, images = LeanConv2d(16, 32, **settings), torch.randn(32, 16, *side)
        exact = results(copy.deepcopy(conv).double(), images.double())
        with torch.autocast("cpu", torch.bfloat16):
            found = results(conv.to(memory_format=torch.channels_last), images)
        for one, other in zip(found, exact, strict=True):
            assert (one.double() - other).abs().max() < 0.05 * other.abs().max()


def test_convolutions_that_pad_in_other_ways_are_left_as_they_are() -> None:
    torch.manual_seed(0)
    mirrored = nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")
    same = nn.Conv2d(4, 6, 3, padding="same")
    images = random_images(2, 4, 5, 5)
    for conv in (mirrored, same):
        before = results(copy.deepcopy(conv), images)
        assert type(lean(conv)) is nn.Conv2d
        torch.testing.assert_close(results(conv, images), before)


def test_positions_that_a_pointwise_stride_skips_are_dropped_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which keeps clear of what oneDNN does with such strides."""
    strides: list[tuple[int, int]] = []
    real = nn.functional.conv2d

    def watched(x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int], *rest: Any) -> Tensor:
        strides.append(stride)
        output: Tensor = real(x, weight, bias, stride, *rest)
        return output

    monkeypatch.setattr(nn.functional, "conv2d", watched)
    LeanConv2d(4, 4, 1, stride=2)(random_images(1, 4, 8, 8))
    LeanConv2d(4, 4, 3, stride=2, padding=1)(random_images(1, 4, 8, 8))
    assert strides == [(1, 1), (2, 2)]


@pytest.mark.parametrize(
    ("rows", "settings"), [(2, {"kernel_size": 1, "stride": 2}), (3, {"kernel_size": 3, "stride": 3})]
)
def test_gradients_of_convolutions_to_one_row_keep_the_layout_of_the_images(
    rows: int, settings: dict[str, Any]
) -> None:
    images = random_images(2, 4, rows, 8).to(memory_format=torch.channels_last).requires_grad_()
    gradients: list[Tensor] = []
    before = images * 1.0
    before.register_hook(gradients.append)  # type: ignore[no-untyped-call]
    LeanConv2d(4, 4, **settings).to(memory_format=torch.channels_last)(before).sum().backward()
    assert gradients[0].is_contiguous(memory_format=torch.channels_last)


def test_an_image_smaller_than_the_kernel_is_refused_as_torch_does() -> None:
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        LeanConv2d(3, 4, 7)(random_images(1, 3, 3, 3))


def test_a_lean_convolution_computes_only_the_taps_that_meet_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels: list[int] = []
    real = nn.functional.conv2d

    def watched(x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        kernels.append(weight.shape[-1])
        output: Tensor = real(x, weight, *rest)
        return output

    monkeypatch.setattr(nn.functional, "conv2d", watched)
    conv = LeanConv2d(4, 4, 7, padding=3)
    for side in (1, 2, 3, 4, 8):
        conv(random_images(1, 4, side, side))
    assert kernels == [1, 3, 5, 7, 7]


def test_taps_that_never_meet_the_image_have_no_gradient() -> None:
    conv = LeanConv2d(1, 1, 7, padding=3, bias=False)
    conv(torch.ones(1, 1, 2, 2)).sum().backward()
    assert conv.weight.grad is not None
    assert (conv.weight.grad[0, 0] != 0).tolist() == [
        [2 <= row <= 4 and 2 <= column <= 4 for column in range(7)] for row in range(7)
    ]


def test_a_subsampling_shortcut_takes_every_other_position_and_appends_zero_channels() -> None:
    images = torch.arange(1.0, 19.0).reshape(1, 2, 3, 3)
    assert LeanSubsample(2, 3, 2)(images).tolist() == [
        [[[1, 3], [7, 9]], [[10, 12], [16, 18]], [[0, 0], [0, 0]]],
    ]


def test_a_subsampling_shortcut_cuts_channels_where_fewer_are_wanted() -> None:
    images = torch.arange(1.0, 19.0).reshape(1, 2, 3, 3)
    assert torch.equal(LeanSubsample(2, 1, 1)(images), images[:, :1])


def test_a_squeeze_excitation_multiplies_each_channel_by_its_gate() -> None:
    gate = to_module(SqueezeExcitation(2, 1))
    squeeze, excite = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1), torch.tensor([0.0, 3.0]).reshape(2, 1, 1, 1)
    biases = {"squeeze.bias": torch.zeros(1), "excite.bias": torch.zeros(2)}
    gate.load_state_dict({"squeeze.weight": squeeze, "excite.weight": excite, **biases})
    images = torch.tensor([[[[1.0, 3.0]], [[5.0, 7.0]]]])
    # the first channel's mean 2 is squeezed to 2; hard-sigmoid(0) = 1/2 and hard-sigmoid(6) = 1
    assert gate(images).tolist() == [[[[0.5, 1.5]], [[5.0, 7.0]]]]


def test_a_residual_adds_its_shortcut_to_its_body() -> None:
    module = to_module(Residual(Activation("relu"), Identity()))
    assert module(torch.tensor([-1.0, 2.0])).tolist() == [-1.0, 4.0]


def test_a_product_multiplies_its_body_by_its_gate() -> None:
    module = to_module(Product(Slice(2, 1, 1), Sequence((Slice(2, 1), Activation("relu")))))
    assert module(torch.tensor([[[[-1.0, 3.0]], [[5.0, 7.0]]]])).tolist() == [[[[0.0, 21.0]]]]


def test_a_shift_moves_each_share_of_the_channels_its_own_way() -> None:
    picture = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    moved = to_module(Shift(9))(picture.expand(1, 9, 3, 3))[0]
    assert moved[0].tolist() == [[0, 0, 0], [0, 1, 2], [0, 4, 5]], "down and to the right"
    assert moved[4].tolist() == picture.tolist()
    assert moved[7].tolist() == [[4, 5, 6], [7, 8, 9], [0, 0, 0]], "up"
    two = to_module(Shift(2))(picture.expand(1, 2, 3, 3))[0]
    assert [two[0].tolist(), two[1].tolist()] == [picture.tolist(), [[5, 6, 0], [8, 9, 0], [0, 0, 0]]]


def branches_with_slices(*sizes: int) -> tuple[Layer, ...]:
    firsts = [sum(sizes[:i]) for i in range(len(sizes))]
    pieces = [Slice(sum(sizes), size, first) for size, first in zip(sizes, firsts, strict=True)]
    return (pieces[0], *(Sequence((piece, Conv(piece.outputs, 3, 3))) for piece in pieces[1:]))


@pytest.mark.parametrize(
    "layer",
    [
        Concat(branches_with_slices(2, 1, 3)),
        Concat((Slice(6, 2), Slice(6, 3, 3))),
        Concat((Slice(6, 3, 3), Slice(6, 3))),
        Concat((Identity(), Conv(6, 2, 1))),
        Product(Slice(6, 3), Sequence((Slice(6, 3, 3), Activation("silu")))),
    ],
)
def test_branches_over_slices_have_the_results_and_gradients_of_their_plain_source(layer: Layer) -> None:
    names: dict[str, Any] = {"__file__": "model.py"}
    exec(torch_source(Sequence((layer, Flatten())), (6, 4, 5)), names)
    ours, plain = to_module(Sequence((layer, Flatten()))), names["network"]()
    plain.load_state_dict(ours.state_dict())
    images = random_images(2, 6, 4, 5)
    for mine, theirs in zip(results(ours, images), results(plain, images), strict=True):
        torch.testing.assert_close(mine, theirs)


TIED = Tied(Residual(Sequence((Conv(4, 4, 1), Conv(4, 4, 3, groups=4), BatchNorm(4), SqueezeExcitation(4, 2)))), 3)


def test_tied_blocks_learn_with_one_set_of_pointwise_weights_and_norms_of_their_own() -> None:
    module = to_module(TIED)
    names = list(module.state_dict())
    assert [name for name in names if ".0.weight" in name or "squeeze.weight" in name] == [
        "0.body.0.weight",
        "0.body.3.squeeze.weight",
    ]
    assert len([name for name in names if name.endswith("running_mean")]) == 3
    images = random_images(2, 4, 5, 5)
    module(images).square().sum().backward()
    shared = module.get_parameter("0.body.0.weight")
    assert shared.grad is not None
    untied = nn.Sequential(*(to_module(TIED.block) for _ in range(3)))
    for number in range(3):
        every = module.state_dict().items()
        first, own = ({name[2:]: value for name, value in every if name[0] == block} for block in ("0", f"{number}"))
        untied[number].load_state_dict(first | own)
    untied(images).square().sum().backward()
    each = [untied.get_parameter(f"{number}.body.0.weight").grad for number in range(3)]
    torch.testing.assert_close(shared.grad, sum(gradient for gradient in each if gradient is not None))


def test_a_copy_of_tied_blocks_is_tied_to_itself() -> None:
    module = to_module(Tied(TIED, 2))
    copied = copy.deepcopy(module).to(torch.float64)
    images = random_images(2, 4, 5, 5).double()
    before = copied.eval()(images)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert torch.equal(copied(images), before)
    with torch.no_grad():
        copied.get_parameter("0.0.body.0.weight").zero_()
    assert not torch.equal(copied(images), before)
    assert parameters(Tied(TIED, 2)) == sum(p.numel() for p in copied.parameters())


def test_the_signs_of_a_classifier_follow_from_its_size_alone_and_are_neither_trained_nor_stored() -> None:
    module = to_module(SignLinear(6, 3))
    assert {name: tuple(value.shape) for name, value in module.state_dict().items()} == {"scale": (3,), "bias": (3,)}
    assert signs(6, 3).tolist() == [[-1, 1, 1, 1, -1, -1], [1, 1, 1, 1, 1, -1], [1, 1, -1, -1, -1, 1]]
    scores = module(torch.eye(6))
    torch.testing.assert_close(scores, signs(6, 3).T / 6**0.5)
    assert to_module(SignLinear(6, 3, bias=False))(torch.zeros(1, 6)).tolist() == [[0] * 3]


def test_the_weights_of_a_quadratic_classifier_are_its_points_and_the_products_of_their_coordinates() -> None:
    module = to_module(QuadraticLinear(2, 1))
    with torch.no_grad():
        module.get_parameter("weight").copy_(torch.tensor([[3.0, -2.0]]))
    assert {name: tuple(value.shape) for name, value in module.state_dict().items()} == {"weight": (1, 2)}
    assert module(torch.eye(5)).flatten().tolist() == [3, -2, 9, -6, 4]


@pytest.mark.parametrize(("inputs", "outputs"), [(32, 100), (64, 10), (40, 1000)])
def test_the_signs_of_different_classes_are_as_unlike_as_drawn_ones(inputs: int, outputs: int) -> None:
    rows = signs(inputs, outputs)
    assert len({tuple(row) for row in rows.tolist()}) == outputs, "no two classes are alike"
    alike = (rows @ rows.T / inputs)[~torch.eye(outputs, dtype=torch.bool)]
    assert alike.std().item() == pytest.approx(inputs**-0.5, rel=0.1)
    assert abs(rows.mean().item()) < 3 / (inputs * outputs) ** 0.5


IMAGES = torch.arange(18.0).reshape(1, 2, 3, 3) - 4
FORWARD: list[tuple[Layer, list[float]]] = [
    (GlobalPool("max"), [4.0, 13.0]),
    (GlobalPool("average"), [0.0, 9.0]),
    (Pool("max", 2), [0.0, 9.0]),
    (Pool("average", 2), [-2.0, 7.0]),
    (Pool("max", 3, 2, 1), [0.0, 1.0, 3.0, 4.0, 9.0, 10.0, 12.0, 13.0]),
    (Sequence((GlobalPool("average"), Flatten())), [0.0, 9.0]),
]


@pytest.mark.parametrize(("layer", "expected"), FORWARD)
def test_a_pool_gives_its_statistic(layer: Layer, expected: list[float]) -> None:
    assert to_module(layer)(IMAGES).flatten().tolist() == expected


@pytest.mark.parametrize(
    ("function", "expected"),
    [("relu", [0.0, 0.0, 3.0]), ("hardswish", [0.0, 0.0, 3.0]), ("silu", [-0.1423, 0.0, 2.8577])],
)
def test_an_activation_applies_its_function(function: str, expected: list[float]) -> None:
    given = torch.tensor([-3.0, 0.0, 3.0])
    torch.testing.assert_close(
        to_module(Activation(function))(given),  # type: ignore[arg-type]
        torch.tensor(expected),
        rtol=0,
        atol=1e-4,
    )


EVERY_KIND: list[tuple[Layer, Shape, Shape]] = [
    (Conv(3, 8, 3, stride=2), (3, 9, 9), (8, 5, 5)),
    (Conv(4, 8, 3, dilation=2, groups=2, bias=True), (4, 9, 9), (8, 9, 9)),
    (BatchNorm(3), (3, 9, 9), (3, 9, 9)),
    (Activation("silu"), (3, 9, 9), (3, 9, 9)),
    (Pool("max", 2), (3, 9, 9), (3, 4, 4)),
    (GlobalPool(), (3, 9, 9), (3, 1, 1)),
    (Flatten(), (3, 9, 9), (243,)),
    (Linear(243, 10), (243,), (10,)),
    (Dropout(0.5), (243,), (243,)),
    (Identity(), (3, 9, 9), (3, 9, 9)),
    (Subsample(3, 5, 2), (3, 9, 9), (5, 5, 5)),
    (SqueezeExcitation(3, 1), (3, 9, 9), (3, 9, 9)),
    (Residual(Conv(3, 5, 3, 2), Subsample(3, 5, 2)), (3, 9, 9), (5, 5, 5)),
]


@pytest.mark.parametrize(("layer", "shape", "expected"), EVERY_KIND, ids=lambda value: type(value).__name__)
def test_every_kind_of_layer_computes(layer: Layer, shape: Shape, expected: Shape) -> None:
    output = to_module(layer)(random_images(2, *shape))
    assert tuple(output.shape[1:]) == expected
    assert output.isfinite().all()


def test_a_convolution_carries_its_fields_over() -> None:
    conv = to_module(Conv(4, 8, 5, stride=2, padding=1, dilation=3, groups=2, bias=True))
    assert isinstance(conv, LeanConv2d)
    assert (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride) == (4, 8, (5, 5), (2, 2))
    assert (conv.padding, conv.dilation, conv.groups) == ((1, 1), (3, 3), 2)
    assert conv.bias is not None


def test_dropout_zeroes_its_share_in_training_only() -> None:
    dropout = to_module(Dropout(0.25))
    torch.manual_seed(0)
    zeros = (dropout(torch.ones(10_000)) == 0).float().mean().item()
    assert 0.22 < zeros < 0.28
    assert torch.equal(dropout.eval()(torch.ones(10)), torch.ones(10))


def test_the_global_generator_decides_the_first_weights() -> None:
    torch.manual_seed(7)
    one = to_module(Conv(3, 8, 3)).state_dict()["weight"]
    torch.manual_seed(7)
    assert torch.equal(one, to_module(Conv(3, 8, 3)).state_dict()["weight"])
    assert not torch.equal(one, to_module(Conv(3, 8, 3)).state_dict()["weight"])


@pytest.mark.parametrize("name", sorted(shipped_spaces()))
def test_working_in_place_changes_neither_scores_nor_gradients(name: str) -> None:
    space = shipped(name)
    rng = np.random.default_rng(0)
    in_place = 0
    for _ in range(6):
        knobs = fit(space, draw(space, rng), Budget(20_000), rng)
        module = to_module(space.network(knobs))
        careful = copy.deepcopy(module)
        for part in careful.modules():
            if isinstance(part, nn.ReLU):
                in_place += part.inplace
                part.inplace = False
            elif isinstance(part, LeanResidual):
                in_place += part.overwrites
                part.overwrites = False
        found = []
        for each in (module, careful):
            images = random_images(4, *space.shape).requires_grad_()
            torch.manual_seed(0)  # for dropout
            scores = each(images)
            scores.square().sum().backward()
            found.append([scores, images.grad, *(p.grad for p in each.parameters())])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert in_place > 0


def test_what_a_backward_pass_or_a_shortcut_still_reads_is_not_overwritten() -> None:
    """A hard-swish reads its input in its backward pass, and a shortcut reads what the body began with."""
    layer = Residual(Sequence((Activation("relu"), BatchNorm(2), Activation("hardswish"))), Identity())
    module = to_module(Sequence((BatchNorm(2), layer, Activation("relu"))))
    images = random_images(2, 2, 3, 3)
    kept = images.clone()
    module(images).sum().backward()
    assert torch.equal(images, kept)
    assert not any(part.overwrites for part in module.modules() if isinstance(part, LeanResidual))
    assert [part.inplace for part in module.modules() if isinstance(part, nn.ReLU)] == [False, True]


@pytest.mark.parametrize("name", sorted(set(shipped_spaces()) - {"conv_fc"}))
def test_gradients_have_the_layout_of_the_images(name: str) -> None:
    """One laid out row by row slows the batch norms that it passes. `conv_fc` flattens maps: they have no other."""
    space = shipped(name)
    module = to_module(space.network(space.defaults)).to(memory_format=torch.channels_last)
    seen: list[tuple[int, ...]] = []
    elsewhere: list[tuple[str, tuple[int, ...]]] = []

    def listen(path: str, output: Tensor) -> None:
        def look(gradients: tuple[Tensor, ...]) -> None:
            seen.append(gradients[0].shape)
            if not gradients[0].is_contiguous(memory_format=torch.channels_last):
                elsewhere.append((path, gradients[0].stride()))

        if output.ndim == 4 and output.shape[2] > 1:
            assert output.grad_fn is not None
            output.grad_fn.register_prehook(look)

    for path, inner in module.named_modules():
        if not list(inner.children()):
            inner.register_forward_hook(lambda _, __, output, path=path: listen(path, output))
    images = random_images(4, *space.shape).to(memory_format=torch.channels_last)
    module(images).sum().backward()
    assert len(seen) > 2
    assert not elsewhere
