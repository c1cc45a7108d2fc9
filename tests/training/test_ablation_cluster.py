"""The ablation on a Dask cluster: a local one, of processes."""

import numpy as np
import pytest

from repvgg_np.training import DataSource, Settings, ablate
from tests.data.cifar_files import random_split, write_folder

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.slow_without_jit
TIMES = ("training_images_per_second", "images_per_second", "fused_images_per_second")


def test_a_cluster_gives_the_same_results_as_this_process(tmp_path):
    rng = np.random.default_rng(0)
    contents = random_split("cifar10", "train", rng)[0] | random_split("cifar10", "test", rng)[0]
    options = {
        "rows": ["plain", "relu-in-branches"],
        "model": "RepVGG-tiny",
        "settings": Settings(epochs=1, batch_size=5, learning_rate=0.05),
        "data": DataSource("cifar10", str(write_folder(tmp_path / "cifar", contents))),
        "progress": False,
    }
    here = ablate(tmp_path / "here", **options)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        there = ablate(tmp_path / "there", executor=client.get_executor(), **options)
        seen = client.run(lambda: __import__("sys").modules.get("repvgg_np") is not None)
    assert [{k: v for k, v in r.items() if k not in TIMES} for r in there] == [
        {k: v for k, v in r.items() if k not in TIMES} for r in here
    ]
    assert any(seen.values())  # it was the cluster's processes that did the work
    assert (tmp_path / "there" / "results.csv").read_text().count("\n") == 3
