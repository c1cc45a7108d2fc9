"""Training: a step (forward, loss, backward, SGD) of a network in its training form, ours and PyTorch's."""

import numpy as np

from repvgg_np.bench.agreement import DRAWS, check_difference, kernels_of, moved, relative_rounding
from repvgg_np.bench.contest import OURS, Contestant, check_positive, run_contest
from repvgg_np.bench.peers import TRAINING_PEERS, build, check_peers
from repvgg_np.bench.plain import NOT_PLAIN, make_model, random_pictures
from repvgg_np.kernels import warm_up
from repvgg_np.models import RepVGG
from repvgg_np.training import SGD, Settings, cross_entropy

# A rate at which hundreds of steps on the same batch leave every number finite.
SETTINGS = Settings(learning_rate=0.01)


class Trainer:
    """A network and its optimizer; called without arguments, it takes a step and returns the loss before it.

    Parameters
    ----------
    model : Network
        In training form; is trained.
    x : ndarray (N, 3, H, W)
    labels : ndarray (N,)
    settings : Settings
    """

    def __init__(self, model, x, labels, settings=SETTINGS):
        self.model, self._x, self._labels = model.train(), x, labels
        rules = (settings.momentum, settings.nesterov, settings.weight_decay, settings.decay)
        self._optimizer = SGD(model.named_parameters(), settings.learning_rate, *rules)

    def __call__(self):
        """Take a step."""
        loss, grad_logits = cross_entropy(self.model(self._x), self._labels)
        self.model.backward(grad_logits, input_gradient=False)
        self._optimizer.step()
        return loss

    def begin(self, state):
        """Begin anew, with the numbers of a state dict and without momentum."""
        self.model.load_state_dict(state)
        self._optimizer.load_state_dict({k: np.zeros_like(v) for k, v in self._optimizer.state_dict().items()})

    def parameters(self):
        """Return a copy of every parameter by its name."""
        return {name: parameter.data.copy() for name, parameter in self.model.named_parameters()}


def step_results(trainer, state):
    """Take two steps, of which the second has momentum, and go back; return what they did.

    Parameters
    ----------
    trainer : Trainer
        Ours or a peer's.
    state : dict of str to ndarray
        Our network's state dict, to begin with.

    Returns
    -------
    dict of str to ndarray
        "loss", before each step; and by its name how far each parameter moved.
    """
    trainer.begin(state)
    results = {"loss": np.array([trainer(), trainer()])}
    results |= {name: array - state[name] for name, array in trainer.parameters().items()}
    trainer.begin(state)
    return results


def step_tolerances(model, x, labels):
    """Return by how much the results of two correct programs' step may differ: see `agreement.py`.

    Parameters
    ----------
    model : Network
        In training form.
    x : ndarray (N, 3, H, W)
    labels : ndarray (N,)

    Returns
    -------
    dict of str to float
        For the loss, and for the largest move of each parameter.
    """
    # Statistics and the gradients of kernels are sums over all pixels of the batch.
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    relative, state = relative_rounding(kernels_of(model), pixels), model.state_dict()
    expected = step_results(Trainer(model, x, labels), state)
    # The move itself is found by subtraction of rounded weights.
    roundoff = float(np.finfo(np.float32).eps)
    tolerances = {name: roundoff * float(np.abs(state[name]).max()) for name in expected if name != "loss"}
    tolerances["loss"] = 0.0
    rng = np.random.default_rng(1)
    changes = dict.fromkeys(expected, 0.0)
    for _ in range(DRAWS):
        other = {name: moved(array, relative, rng) for name, array in state.items()}
        found = step_results(Trainer(model, moved(x, relative, rng), labels), other)
        for name, array in found.items():
            changes[name] = max(changes[name], float(np.abs(array - expected[name]).max()))
    model.load_state_dict(state)
    return {name: tolerances[name] + 2 * change for name, change in changes.items()}


def bench_training(name=None, batch=128, size=None, repeats=15, seed=0, peers=None, shape=None):
    """Time a training step of ours, and of every peer that trains and is installed.

    Parameters
    ----------
    name : str, optional
        A model's name.
    batch : int
        Pictures in a batch.
    size : int, optional
        Their height and width; without it, what the model is made for.
    repeats : int
        Rounds of the interleaved run.
    seed : int
        Draws weights, pictures and labels.
    peers : sequence of str, optional
        Which peers; without it all that are installed.
    shape : dict, optional
        "widths", "depths" and "strides" of the network, instead of a name.

    Returns
    -------
    dict
        What `run_contest` returns, and "model", "batch", "size", "images_per_second", "left_out". The difference and
        the tolerance are those of the parameter (or the loss) that takes the largest share of its tolerance.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    check_positive(batch=batch, repeats=repeats)
    asked = check_peers(peers)
    model = make_model(name, **(shape or {}), seed=seed)
    size = model.config.input_size if size is None else size
    check_positive(size=size)
    warm_up(training=True)
    x = random_pictures(batch, 3, size, seed)
    labels = np.random.default_rng([seed, 1]).integers(model.num_classes, size=batch)
    names, left_out = [peer for peer in asked if peer in TRAINING_PEERS], {}
    if not isinstance(model, RepVGG):
        names, left_out = [], dict.fromkeys(names, NOT_PLAIN)
    tolerances = step_tolerances(model, x, labels)
    built = build(names, lambda peer, threads: peer.training(model, x, labels, SETTINGS, threads), left_out)
    ours = Trainer(model, x, labels)
    state = model.state_dict()
    expected = step_results(ours, state)
    contestants = [Contestant(OURS, ours, ours=True)]
    for peer, (note, trainer) in built.items():
        contestant = Contestant(peer, trainer, note)
        try:
            contestant.difference, contestant.tolerance = compare_steps(peer, trainer, state, expected, tolerances)
        except ValueError as error:
            left_out[peer] = str(error)
            continue
        contestants.append(contestant)
    result = run_contest(contestants, repeats, title=f"{model.name}, batch {batch}")
    speeds = {peer: batch / row["median"] for peer, row in result["contestants"].items()}
    facts = {"model": model.name, "batch": batch, "size": size, "parameters": model.count_parameters()}
    return facts | {"left_out": left_out, "images_per_second": speeds} | result


def compare_steps(name, trainer, state, expected, tolerances):
    """Compare a peer's step with ours.

    Parameters
    ----------
    name : str
    trainer : Trainer
    state : dict of str to ndarray
        With which both begin.
    expected : dict of str to ndarray
        From `step_results` of ours.
    tolerances : dict of str to float

    Returns
    -------
    difference, tolerance : float
        Where the difference takes the largest share.

    Raises
    ------
    ValueError
        If a result differs by more than its tolerance.
    """
    found = step_results(trainer, state)
    pairs = [check_difference(f"{name}'s {key}", found[key], array, tolerances[key]) for key, array in expected.items()]
    return max(pairs, key=lambda pair: pair[0] / pair[1])
