"""One network, two sets of names: the official RepVGG repository's and timm's.

======================  =======================  =======================
what                    official                 timm
======================  =======================  =======================
the first block         stage0                   stem
block b of stage s      stage{s}.{b}, s >= 1     stages.{s - 1}.{b}
3x3 branch              rbr_dense                conv_kxk
1x1 branch              rbr_1x1                  conv_1x1
identity branch         rbr_identity             identity
the fused convolution   rbr_reparam              reparam_conv
the classifier          linear                   head.fc
======================  =======================  =======================

Below a branch both say `conv.weight`, `bn.running_mean` and so on. Only names that fit these patterns to the
end are changed; others are left as they are, and `linear` and `head.fc`, which many networks have, are
changed only beside a block that was recognised. `nn.DataParallel` puts `module.` in front of every name.
"""

import re
from dataclasses import dataclass

from repvgg_np.interop.files import shown

_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_CONV_AND_NORM = ("conv.weight", *(f"bn.{name}" for name in _BATCH_NORM))
_PARAMETERS = {
    "rbr_dense": _CONV_AND_NORM,
    "rbr_1x1": _CONV_AND_NORM,
    "rbr_identity": _BATCH_NORM,
    "rbr_reparam": ("weight", "bias"),
}
_TIMM_BRANCH = {
    "rbr_dense": "conv_kxk",
    "rbr_1x1": "conv_1x1",
    "rbr_identity": "identity",
    "rbr_reparam": "reparam_conv",
}
_OFFICIAL_BRANCH = {timm: official for official, timm in _TIMM_BRANCH.items()}

_INTEGER = "0|[1-9][0-9]{0,5}"
_OFFICIAL = re.compile(rf"(?:stage0|stage([1-9][0-9]{{0,5}})\.({_INTEGER}))\.([^.]+)\.(.+)")
_TIMM = re.compile(rf"(?:stem|stages\.({_INTEGER})\.({_INTEGER}))\.([^.]+)\.(.+)")

_DATA_PARALLEL = "module."


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the network a parameter belongs, in the official repository's terms."""

    stage: int
    block: int | None  # None: stage 0 is a single block
    branch: str
    parameter: str

    def official(self):
        block = "" if self.block is None else f".{self.block}"
        return f"stage{self.stage}{block}.{self.branch}.{self.parameter}"

    def timm(self):
        block = "stem" if self.block is None else f"stages.{self.stage - 1}.{self.block}"
        return f"{block}.{_TIMM_BRANCH[self.branch]}.{self.parameter}"


def _parse_official(name):
    """Return the place that an official name stands for, or None."""
    match = _OFFICIAL.fullmatch(name)
    if match is None:
        return None
    return _place(match, match[1] and int(match[1]), match[3])


def _parse_timm(name):
    """Return the place that a name of timm's stands for, or None."""
    match = _TIMM.fullmatch(name)
    if match is None:
        return None
    return _place(match, match[1] and int(match[1]) + 1, _OFFICIAL_BRANCH.get(match[3]))


def _place(match, stage, branch):
    """Finish parsing: the branch must exist and have such a parameter."""
    if match[4] not in _PARAMETERS.get(branch, ()):
        return None
    return _Place(stage or 0, match[2] and int(match[2]), branch, match[4])


def official_names(state):
    """Rename timm's names to the official repository's.

    Parameters
    ----------
    state : dict[str, object]
        Training or inference form. Values are passed on untouched.

    Returns
    -------
    dict[str, object]
        In the same order. Names that are official already, or that are not a RepVGG's, stay.

    Raises
    ------
    ValueError
        If two names would become the same.
    """
    return _rename(state, _parse_timm, _Place.official, classifier=("head.fc", "linear"))


def timm_names(state):
    """Rename the official repository's names to timm's: the inverse of `official_names`.

    Parameters
    ----------
    state : dict[str, object]
        Training or inference form. Values are passed on untouched.

    Returns
    -------
    dict[str, object]
        In the same order. Names that are timm's already, or that are not a RepVGG's, stay.

    Raises
    ------
    ValueError
        If two names would become the same.
    """
    return _rename(state, _parse_official, _Place.timm, classifier=("linear", "head.fc"))


def without_data_parallel(state):
    """Strip the prefix `module.` if every name has it.

    Parameters
    ----------
    state : dict[str, object]

    Returns
    -------
    dict[str, object]
        In the same order.
    """
    if not all(name.startswith(_DATA_PARALLEL) for name in state):
        return dict(state)
    return {name.removeprefix(_DATA_PARALLEL): value for name, value in state.items()}


def _rename(state, parse, write, classifier):
    """Rename what is recognised, and beside it the classifier (old, new), whose name alone says little."""
    places = {name: parse(name) for name in state}
    if not any(places.values()):
        return dict(state)
    new_names = {name: write(place) if place else name for name, place in places.items()}
    old, new = classifier
    for parameter in ("weight", "bias"):
        if f"{old}.{parameter}" in state:
            new_names[f"{old}.{parameter}"] = f"{new}.{parameter}"
    result, former = {}, {}
    for name, value in state.items():
        new_name = new_names[name]
        if new_name in result:
            both = f"{shown(former[new_name])} and {shown(name)}"
            raise ValueError(f"the names {both} mean the same parameter, {shown(new_name)}")
        result[new_name], former[new_name] = value, name
    return result
