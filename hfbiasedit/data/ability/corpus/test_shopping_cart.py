import pytest

from shop.cart import Cart, EmptyCart, Product


@pytest.fixture
def tea():
    return Product(sku="tea-100", price=450, tax="reduced")


@pytest.fixture
def kettle():
    return Product(sku="kettle", price=2999, tax="full")


def test_a_new_cart_costs_nothing():
    assert Cart().total() == 0


def test_quantities_of_the_same_product_add_up(tea):
    cart = Cart()
    cart.add(tea, quantity=2)
    cart.add(tea)
    assert cart.quantity(tea) == 3
    assert cart.total() == 3 * 450


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(0, 3449), (10, 3104), (50, 1724), (100, 0)],
)
def test_a_discount_rounds_in_favour_of_the_customer(tea, kettle, percent, expected):
    cart = Cart()
    cart.add(tea)
    cart.add(kettle)
    cart.apply_discount(percent)
    assert cart.total() == expected


def test_taxes_are_listed_by_rate(tea, kettle):
    cart = Cart()
    cart.add(tea, quantity=4)
    cart.add(kettle)
    taxes = cart.taxes()
    assert set(taxes) == {"reduced", "full"}
    assert taxes["reduced"] == pytest.approx(1800 * 0.07 / 1.07, abs=1)


def test_an_empty_cart_cannot_be_ordered():
    with pytest.raises(EmptyCart, match="nothing to order"):
        Cart().checkout(address="somewhere")


def test_removing_the_last_item_empties_the_cart(tea):
    cart = Cart()
    cart.add(tea)
    cart.remove(tea)
    assert len(cart) == 0
    with pytest.raises(KeyError):
        cart.remove(tea)
