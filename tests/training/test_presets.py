import dataclasses
import json

import pytest

from repvgg_np.models import CONFIGS, RepVGGConfig, create_model
from repvgg_np.training import PRESETS, Settings, describe_recipe, find_preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_data_that_json_can_hold_and_names_a_network_for_cifar(name):
    preset = find_preset(name)
    assert Settings.from_dict(json.loads(json.dumps(preset.settings.as_dict()))) == preset.settings
    config = CONFIGS[preset.model]
    assert isinstance(config, RepVGGConfig) and (config.input_size, config.num_classes) == (32, 10)


def test_the_papers_preset_has_the_papers_settings():
    settings = PRESETS["paper"].settings
    assert (settings.epochs, settings.batch_size, settings.schedule, settings.warmup_epochs) == (
        120,
        256,
        "cosine",
        None,
    )
    assert (settings.learning_rate, settings.momentum, settings.nesterov) == (0.1, 0.9, False)
    assert (settings.weight_decay, settings.decay) == (1e-4, "kernels")
    assert (settings.label_smoothing, settings.mixup, settings.rand_augment) == (0, 0, 0)
    strong = PRESETS["paper-strong"].settings
    assert (strong.epochs, strong.warmup_epochs) == (200, 5)
    assert strong.label_smoothing and strong.mixup and strong.rand_augment


def test_a_preset_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"preset must be one of minute, .* got 'cofee'; did you mean 'coffee'\?"):
        find_preset("cofee")


def test_a_described_recipe_differs_where_a_choice_that_matters_does():
    """Each setting, changed by itself, changes the text: nothing that the result depends on is left unsaid."""
    model = create_model("RepVGG-tiny", seed=None)
    usual = Settings(flip="alternating", rand_augment=1, warmup_epochs=1, optimizer="muon")
    changed = {
        "epochs": 7, "batch_size": 9, "learning_rate": 0.3, "schedule": "one_cycle", "warmup_epochs": 2,
        "optimizer": "sgd", "muon_rate": 0.2, "bias_rate": 4, "momentum": 0.8,
        "nesterov": True, "weight_decay": 1e-3, "decay": "all", "label_smoothing": 0.2, "mixup": 0.3, "augment": False,
        "padding": 3, "flip": "none", "rand_augment": 2, "magnitude": 5, "cutout": 8, "first_size": 16,
        "whiten": True, "average": 0.9, "evaluate_every": 3,
        "branch_gammas": (1, 0.5, 1), "logit_scale": 0.1,
        "seed": 4,
    }  # fmt: skip
    assert set(changed) == {field.name for field in dataclasses.fields(Settings)}
    texts = {describe_recipe(model, dataclasses.replace(usual, **{name: value})) for name, value in changed.items()}
    assert len(texts | {describe_recipe(model, usual)}) == len(changed) + 1
