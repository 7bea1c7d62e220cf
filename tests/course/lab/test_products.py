"""Counting matrix products: shapes, layouts and multiplications."""

import numpy as np
import pytest

from benchmarks.floor import make_floor, products_of
from minilora.course.lab.products import Factor, count_products, counted, multiplications
from minilora.nn import Linear


def test_a_product_is_recorded_by_the_shapes_of_its_factors():
    with count_products() as products:
        counted(np.ones((2, 3))) @ np.ones((3, 4))
    assert products == [((2, 3), (3, 4))] and multiplications(products) == 24


def test_leading_axes_multiply_the_count():
    with count_products() as products:
        counted(np.ones((5, 2, 3))) @ np.ones((3, 4))
    assert multiplications(products) == 5 * 24


def test_a_factor_whose_columns_lie_together_is_recorded_as_transposed():
    with count_products() as products:
        counted(np.ones((2, 3))) @ np.ones((4, 3)).T
    assert [factor.transposed for factor in products[0]] == [False, True]


def test_a_product_outside_the_block_is_not_recorded():
    with count_products() as products:
        pass
    counted(np.ones((2, 3))) @ np.ones((3, 4))
    assert products == []


@pytest.fixture
def layer():
    layer = Linear(3, 4)
    layer.weight.data = np.ones((4, 3), np.float32)
    return layer


def test_the_arrays_of_the_model_are_put_back(layer):
    array = layer.weight.data
    products_of(layer, lambda: None)
    assert layer.weight.data is array


def test_the_floor_makes_the_same_products_in_the_same_layouts(layer, monkeypatch):
    products = products_of(layer, lambda: np.ones((2, 3), np.float32) @ layer.weight.data.T)
    floor, made = make_floor(products), []
    monkeypatch.setattr(np, "matmul", lambda a, b, out: made.append((Factor.of(a), Factor.of(b))))
    floor()
    assert made == products == [((2, 3), (3, 4))]
    assert [factor.transposed for factor in made[0]] == [False, True]
