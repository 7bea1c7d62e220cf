"""The keys of a config.json one by one: which values each kind takes, what null means, which leftovers are refused."""

import math

import pytest

from minilora.errors import ConfigError, FormatError
from minilora.files.config_keys import Keys, is_neutral


def keys(data, **defaults):
    return Keys(data, "config.json", defaults)


@pytest.mark.parametrize("value", [1, 2, 2**31 - 1])
def test_a_whole_number_within_its_range_is_taken(value):
    assert keys({"n": value}).integer("n") == value


@pytest.mark.parametrize("value", [0, -1, 2**31, 1.0, True, "1", [1]])
def test_a_whole_number_out_of_its_range_is_refused_with_the_range(value):
    with pytest.raises(FormatError, match=r"config.json: n = .*, expected a whole number of 1 to 2147483647"):
        keys({"n": value}).integer("n")


def test_the_range_of_a_whole_number_can_be_another():
    assert keys({"n": 0}).integer("n", low=0, high=5) == 0 and keys({"n": 5}).integer("n", low=0, high=5) == 5
    with pytest.raises(FormatError, match="n = 6, expected a whole number of 0 to 5"):
        keys({"n": 6}).integer("n", low=0, high=5)


@pytest.mark.parametrize("value", [1, 1e-300, 1.7e308])
def test_a_finite_number_above_0_is_taken(value):
    assert keys({"x": value}).number("x") == value


@pytest.mark.parametrize("value", [0, 0.0, -1e-5, math.inf, math.nan, True, "1"])
def test_another_number_is_refused(value):
    with pytest.raises(FormatError, match="x = .*, expected a finite number above 0"):
        keys({"x": value}).number("x")


@pytest.mark.parametrize("value", [0, 1, "true", []])
def test_a_flag_is_true_or_false(value):
    assert keys({"f": True}).flag("f") is True and keys({}).flag("f") is False
    with pytest.raises(FormatError, match="f = .*, expected true or false"):
        keys({"f": value}).flag("f")


def test_a_missing_key_has_the_familys_default_then_the_one_given_then_none():
    assert keys({}, n=7).integer("n", 3) == 7
    assert keys({}).integer("n", 3) == 3
    with pytest.raises(FormatError, match="config.json: 'n' is missing"):
        keys({}).integer("n")


def test_null_means_missing_and_is_a_value_for_the_keys_where_it_says_something():
    assert keys({"n": None}, n=7).integer("n", 3) == 7
    assert keys({"num_key_value_heads": None}, num_key_value_heads=7).integer("num_key_value_heads", 3) == 3


def test_a_key_with_one_value_takes_it_under_each_of_its_names_and_may_be_missing():
    for data in ({}, {"act": "silu"}, {"act": "swish"}, {"act": None}):
        assert keys(data).only("act", "silu", "swish") is None
    with pytest.raises(ConfigError, match="config.json: act 'relu' is not supported, only silu or swish"):
        keys({"act": "relu"}).only("act", "silu", "swish")


@pytest.mark.parametrize("value", [0, 5, [0, 5], None])
def test_a_token_is_one_id_or_several(value):
    assert keys({"eos_token_id": value}).token_ids()["eos_token_id"] == value


def test_minus_1_is_no_token_as_some_tools_write_it():
    assert keys({"eos_token_id": -1}).token_ids()["eos_token_id"] is None


@pytest.mark.parametrize("value", [-2, [-1], True, [True], 1.0, "</s>"])
def test_what_is_no_token_id_is_refused(value):
    with pytest.raises(FormatError, match="eos_token_id = .*, expected a token id or a list of them"):
        keys({"eos_token_id": value}).token_ids()


@pytest.mark.parametrize("key", ["bos_token_id", "pad_token_id"])
def test_only_the_end_may_be_several_tokens(key):
    with pytest.raises(FormatError, match=rf"^config.json: {key} = \[1\], expected a token id$"):
        keys({key: [1]}).token_ids()


@pytest.mark.parametrize("value", [None, False, 0, 1, 1.0, "", {}, [], ["full_attention"]])
def test_a_neutral_value_of_a_key_that_is_left_is_passed_over(value):
    assert is_neutral(value)
    keys({"logit_scale": value}).finish()


@pytest.mark.parametrize("value", [True, 2, 0.5, "yes", {"a": 1}, ["sliding_attention"]])
def test_another_value_of_a_key_that_is_left_is_refused_when_its_name_may_change_results(value):
    assert not is_neutral(value)
    with pytest.raises(ConfigError, match="config.json: 'logit_scale' = .* may change the computation"):
        keys({"logit_scale": value}).finish()


@pytest.mark.parametrize("key", ["resid_pdrop", "initializer_range", "_name_or_path", "some_word"])
def test_a_key_that_changes_no_result_may_have_any_value(key):
    keys({key: 2}).finish()


def test_a_key_that_was_taken_is_not_looked_at_again():
    left = keys({"rope_theta": 5e5})
    left.number("rope_theta")
    left.finish()


def test_the_callers_dict_is_left_as_it_was():
    data = {"n": 3}
    keys(data).integer("n")
    assert data == {"n": 3}
