"""Training: the loss, the optimizer, the schedules, the loop, and checkpoints that lose nothing.

Begin with `loop.py`.
"""

from repvgg_np.training.ablation import ROWS, ablate, find_rows
from repvgg_np.training.ablation_results import RESULTS_FILE, read_results
from repvgg_np.training.ablation_run import DataSource, process_pool
from repvgg_np.training.ablation_summary import order_lines, summarise, table
from repvgg_np.training.averaging import WeightAverage
from repvgg_np.training.calibration import calibration_error
from repvgg_np.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from repvgg_np.training.errors import TrainingDiverged, TrainingInterrupted
from repvgg_np.training.evaluate import Evaluation, evaluate
from repvgg_np.training.facts import describe_run
from repvgg_np.training.first_weights import change_first_weights
from repvgg_np.training.history import COLUMNS, TIMING_COLUMNS, History, read_history
from repvgg_np.training.loop import TrainingResult, train
from repvgg_np.training.loss import cross_entropy, softmax
from repvgg_np.training.mixup import mixup
from repvgg_np.training.muon import Muon
from repvgg_np.training.optimizer import make_optimizer
from repvgg_np.training.position import Position
from repvgg_np.training.presets import PRESETS, Preset, describe_recipe, find_preset
from repvgg_np.training.report import evaluation_report
from repvgg_np.training.saver import CHECKPOINT_FILE, HISTORY_FILE
from repvgg_np.training.schedule import SCHEDULES, cosine, make_schedule, one_cycle
from repvgg_np.training.settings import Settings
from repvgg_np.training.sgd import DECAYS, SGD
from repvgg_np.training.whitening import whiten_first_layer

__all__ = [
    "CHECKPOINT_FILE",
    "COLUMNS",
    "DECAYS",
    "HISTORY_FILE",
    "PRESETS",
    "RESULTS_FILE",
    "ROWS",
    "SCHEDULES",
    "SGD",
    "TIMING_COLUMNS",
    "Checkpoint",
    "DataSource",
    "Evaluation",
    "History",
    "Muon",
    "Position",
    "Preset",
    "Settings",
    "TrainingDiverged",
    "TrainingInterrupted",
    "TrainingResult",
    "WeightAverage",
    "ablate",
    "calibration_error",
    "change_first_weights",
    "cosine",
    "cross_entropy",
    "describe_recipe",
    "describe_run",
    "evaluate",
    "evaluation_report",
    "find_preset",
    "find_rows",
    "load_checkpoint",
    "make_optimizer",
    "make_schedule",
    "mixup",
    "one_cycle",
    "order_lines",
    "process_pool",
    "read_history",
    "read_results",
    "save_checkpoint",
    "softmax",
    "summarise",
    "table",
    "train",
    "whiten_first_layer",
]
