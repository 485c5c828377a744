"""The contract of every kind of head: a new one is tested by being in `HEADS`."""

import pytest
import torch
from exported import plain_module, scores_in_onnx
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import SpaceError
from nas.network.folds import macs, output_shape, parameters
from nas.network.heads import HEADS, classifier
from nas.network.layers import QuadraticLinear
from nas.network.modules.module import to_module


@pytest.mark.parametrize("kind", HEADS)
@settings(max_examples=20)
@given(inputs=st.integers(1, 40), classes=st.integers(1, 30), rank=st.integers(1, 20))
def test_a_head_has_the_parameters_of_its_module_and_gives_a_score_a_class(
    kind: str, inputs: int, classes: int, rank: int
) -> None:
    head, shape = classifier(inputs, classes, kind, rank=rank), (inputs, 3, 2)
    module = to_module(head).eval()
    assert output_shape(head, shape) == (classes,)
    assert parameters(head) == sum(p.numel() for p in module.parameters())
    assert macs(head, shape) >= classes
    images = torch.randn(2, *shape)
    source = plain_module(head, shape)
    source.load_state_dict(module.state_dict())
    torch.testing.assert_close(source(images), module(images))


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_computes_the_same_in_onnx(kind: str) -> None:
    shape = (6, 3, 2)
    module = plain_module(classifier(6, 10, kind, rank=4), shape)
    images = torch.randn(3, *shape)
    torch.testing.assert_close(scores_in_onnx(module, shape, images), module(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "bare"), [("linear", "bias-free"), ("low-rank", "low-rank bias-free")])
def test_a_head_without_bias_saves_a_parameter_a_class_and_scores_nothing_as_nothing(kind: str, bare: str) -> None:
    assert parameters(classifier(6, 10, kind, rank=3)) - parameters(classifier(6, 10, bare, rank=3)) == 10
    assert to_module(classifier(6, 10, bare, rank=3))(torch.zeros(1, 6, 2, 2)).tolist() == [[0] * 10]


@given(inputs=st.integers(1, 600))
def test_a_quadratic_head_has_the_fewest_dimensions_whose_products_are_no_fewer_than_the_inputs(inputs: int) -> None:
    last = HEADS["quadratic"](inputs, 100, 1)[-1]
    assert isinstance(last, QuadraticLinear)
    assert last.rank * (last.rank + 1) // 2 >= inputs > last.rank * (last.rank - 1) // 2


def test_a_kind_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(SpaceError) as caught:
        classifier(8, 10, "lineal")
    assert str(caught.value) == f"a kind of head must be one of {', '.join(HEADS)} but is 'lineal'"
