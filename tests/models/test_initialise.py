import numpy as np
import pytest

from repvgg_np.models import create_model
from repvgg_np.models.initialise import scale_classifier, set_branch_gammas
from repvgg_np.verify import verify_fusion


def test_each_branch_of_each_block_gets_its_gamma_and_nothing_else_changes_and_the_network_folds(rng):
    model = create_model("RepVGG-tiny", 3)
    before = model.state_dict()
    set_branch_gammas(model, (1, 0.5, 0.25))
    gammas = {"rbr_dense.bn.weight": 1, "rbr_1x1.bn.weight": 0.5, "rbr_identity.weight": 0.25}
    seen = set()
    for name, array in model.state_dict().items():
        branch = next((branch for branch in gammas if name.endswith(branch)), None)
        seen.add(branch)
        assert (array == (gammas[branch] if branch else before[name])).all(), name
    assert seen == {*gammas, None}
    model.eval()
    assert verify_fusion(model, rng.standard_normal((2, 3, 32, 32)).astype(np.float32)).ok


def test_a_network_without_repvgg_blocks_has_no_branches_to_choose_gammas_for():
    for model in (create_model("ResNet-18", 3, None), create_model("RepVGG-tiny", 3, variant="dbb")):
        with pytest.raises(ValueError, match=f"branch_gammas is for networks of RepVGG blocks, got {model.name}"):
            set_branch_gammas(model, (1, 1, 1))


def test_a_scaled_classifier_makes_scaled_logits(rng):
    model = create_model("RepVGG-tiny", 3)
    model.eval()
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    before = model(x)
    scale_classifier(model, 0.25)
    assert model(x).tobytes() == (before / 4).tobytes()
