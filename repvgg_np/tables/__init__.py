"""The paper's tables, made again on this machine: what is counted and measured here stands beside what it prints.

Each file makes a table or two: `networks.py` (4, 5 and what networks cost), `ablations.py` (6 and 7), `kernels.py`
(1), `architecture.py` (2 and 3), `depthwise.py`, `memory.py` (figure 3) and `ensemble.py` (section 3.1). The printed
numbers, and their slips, are data in `analysis/published.py`; the trainings of tables 6 and 7 on CIFAR-10 are
`ablation-cifar10.csv`, which `packaged_ablation.py` reads. Not the paper's are `recipes.py` and `choices.py`: what the
presets reached on CIFAR-10, and what each of their choices is worth.
"""
