"""The ablation that comes with the package: every row of the paper's tables 6 and 7, trained on CIFAR-10.

`ablation-cifar10.csv` has a line for each run, as `repvgg-np ablate` writes it; `ablation-cifar10.json` says how they
came about: the command, the network, the pictures, the machine.
"""

import json
from pathlib import Path

from repvgg_np.training import read_results

RESULTS = Path(__file__).with_name("ablation-cifar10.csv")


def packaged_ablation():
    """Read the results of the ablation in the package.

    Returns
    -------
    results : list of dict
        A run each, keyed by `training.ablation_results.COLUMNS`: for `training.summarise`.
    facts : dict
        "command", "model", "data", "epochs", "seeds" (how many), "machine", "date", "remarks".
    """
    facts = json.loads(RESULTS.with_suffix(".json").read_text(encoding="utf-8"))
    return read_results(RESULTS), facts
