import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_np.interop import official_names, timm_names

from .strategies import official_state_names

# Written out by hand from both repositories' code.
PAIRS = {
    "stage0.rbr_dense.conv.weight": "stem.conv_kxk.conv.weight",
    "stage0.rbr_dense.bn.running_mean": "stem.conv_kxk.bn.running_mean",
    "stage0.rbr_1x1.conv.weight": "stem.conv_1x1.conv.weight",
    "stage0.rbr_identity.weight": "stem.identity.weight",
    "stage0.rbr_reparam.bias": "stem.reparam_conv.bias",
    "stage1.0.rbr_dense.conv.weight": "stages.0.0.conv_kxk.conv.weight",
    "stage1.0.rbr_1x1.bn.running_mean": "stages.0.0.conv_1x1.bn.running_mean",
    "stage3.13.rbr_identity.num_batches_tracked": "stages.2.13.identity.num_batches_tracked",
    "stage4.0.rbr_reparam.weight": "stages.3.0.reparam_conv.weight",
    "linear.weight": "head.fc.weight",
    "linear.bias": "head.fc.bias",
}


def test_each_official_name_is_the_name_of_timm_beside_it():
    assert list(timm_names(PAIRS)) == list(PAIRS.values())
    assert list(official_names(dict.fromkeys(PAIRS.values()))) == list(PAIRS)


@given(official_state_names())
def test_the_two_renamings_are_inverse_and_keep_order_and_values(names):
    state = {name: object() for name in names}
    renamed = timm_names(state)
    assert not set(renamed) & set(state)
    back = official_names(renamed)
    assert list(back.items()) == list(state.items())
    assert list(renamed.values()) == list(state.values())


@given(official_state_names())
def test_names_that_are_in_the_wanted_scheme_already_stay(names):
    state = dict.fromkeys(names, 0)
    assert list(official_names(state)) == names
    assert list(timm_names(timm_names(state))) == list(timm_names(state))


@given(st.dictionaries(st.text(max_size=10), st.integers(), max_size=5))
def test_other_names_stay(state):
    assert official_names(state) == state
    assert timm_names(state) == state


FOREIGN = [
    "stages.0.0.conv_kxk.0.conv.weight",  # MobileOne, which has several such branches
    "stages.0.0.attn.fc1.weight",
    "stages.0.0.conv_kxk.weight",
    "stages.0.0.conv_kxk.conv.bias",
    "stages.0.0.identity.bn.weight",
    "stages.0.0.reparam_conv.running_mean",
    "stages.00.0.conv_kxk.conv.weight",
    "stages.0.0x.conv_kxk.conv.weight",
    "stages.0.conv_kxk.conv.weight",
    "stages.\u0663.0.conv_kxk.conv.weight",
    "stages.-1.0.conv_kxk.conv.weight",
    "stem.0.conv_kxk.conv.weight",
    "stem.conv_kxk.conv.weight\n",
    "xstem.conv_kxk.conv.weight",
    "stem.rbr_dense.conv.weight",
    "stage0.0.rbr_dense.conv.weight",
    "stage1.rbr_dense.conv.weight",
    "stage1.0.conv_kxk.conv.weight",
    "stage01.0.rbr_dense.conv.weight",
    "head.fc.weight",
    "head.fc.weight_v",
    "linear.weight",
    "fc.weight",
    "",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_name_that_fits_almost_is_another_network_and_stays(name):
    assert list(official_names({name: 0})) == [name]
    assert list(timm_names({name: 0})) == [name]


def test_the_classifier_is_renamed_only_beside_a_recognised_block():
    assert list(official_names({"head.fc.bias": 0, "layers.0.weight": 1})) == [
        "head.fc.bias",
        "layers.0.weight",
    ]
    assert list(official_names({"head.fc.bias": 0, "stem.identity.bias": 1})) == [
        "linear.bias",
        "stage0.rbr_identity.bias",
    ]
    assert list(timm_names({"linear.bias": 0, "stage0.rbr_identity.bias": 1})) == [
        "head.fc.bias",
        "stem.identity.bias",
    ]


def test_what_is_not_recognised_stays_beside_what_is():
    state = {"stem.identity.bias": 0, "stages.0.0.attn.fc1.weight": 1, "head.fc.scale": 2}
    assert list(official_names(state)) == [
        "stage0.rbr_identity.bias",
        "stages.0.0.attn.fc1.weight",
        "head.fc.scale",
    ]


@pytest.mark.parametrize(
    ("rename", "state"),
    [
        (official_names, ["stem.identity.bias", "stage0.rbr_identity.bias"]),
        (official_names, ["stage1.0.rbr_1x1.conv.weight", "stages.0.0.conv_1x1.conv.weight"]),
        (official_names, ["stem.identity.bias", "linear.bias", "head.fc.bias"]),
        (timm_names, ["stem.identity.bias", "stage0.rbr_identity.bias"]),
    ],
)
def test_two_names_of_one_parameter_are_refused_and_named(rename, state):
    with pytest.raises(ValueError, match=f"'{state[-2]}' and '{state[-1]}' mean the same parameter"):
        rename(dict.fromkeys(state))
