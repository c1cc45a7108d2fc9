"""Inference: a network before and after fusion, and every peer with the fused one."""

from repvgg_np.analysis import network_cost
from repvgg_np.bench.agreement import check_difference, logits_tolerance
from repvgg_np.bench.contest import Contestant, check_positive, run_contest
from repvgg_np.bench.peers import build, check_peers
from repvgg_np.bench.plain import NOT_PLAIN, make_model, make_pair, plain_network, random_pictures
from repvgg_np.kernels import warm_up
from repvgg_np.models import RepVGG

FUSED, BRANCHES, UNFUSED = "repvgg_np, fused", "repvgg_np, three branches", "repvgg_np, unfused"


def bench_inference(model, batch, size=None, repeats=15, seed=0, peers=None, branches=True):
    """Time a network before and after fusion, and the fused one of every peer that is installed.

    Peers build a RepVGG only; the networks that the paper compares it with are timed before and after fusion alone.

    Parameters
    ----------
    model : Network or str
        In training form with numbers as after a training, or a name; `make_model` makes one.
    batch : int
        Pictures in a batch.
    size : int, optional
        Their height and width; without it, what the model is made for.
    repeats : int
        Rounds of the interleaved run.
    seed : int
        Draws the pictures.
    peers : sequence of str, optional
        Which peers; without it all that are installed.
    branches : bool
        Whether to time the training form too.

    Returns
    -------
    dict
        What `run_contest` returns, and "model", "batch", "size", "left_out".

    Raises
    ------
    ValueError
        If an argument is out of range, or the outputs of ours don't agree.
    """
    check_positive(batch=batch, repeats=repeats)
    names = check_peers(peers)
    model, fused = make_pair(make_model(model, seed=seed) if isinstance(model, str) else model)
    size = model.config.input_size if size is None else size
    flops = 2 * batch * sum(cost.flops for cost in network_cost(fused, size))  # a multiply-add is two operations
    warm_up(training=False)
    x = random_pictures(batch, 3, size, seed)
    logits, tolerance = fused(x), logits_tolerance(fused, x)
    contestants = [Contestant(FUSED, lambda: fused(x), ours=True)]
    if branches:
        before = BRANCHES if isinstance(model, RepVGG) else UNFUSED
        contestants.append(Contestant(before, lambda: model(x), ours=True))
    left_out = {}
    if isinstance(model, RepVGG):
        network = plain_network(fused)
        built = build(names, lambda peer, threads: peer.inference(network, x, threads), left_out)
        contestants += [Contestant(name, run, note) for name, (note, run) in built.items()]
    else:
        left_out = dict.fromkeys(names, NOT_PLAIN)
    contestants = agreeing(contestants, logits, tolerance, left_out)
    result = run_contest(contestants, repeats, flops, title=f"{model.name}, batch {batch}")
    return {"model": model.name, "batch": batch, "size": size, "left_out": left_out} | result


def agreeing(contestants, expected, tolerance, left_out):
    """Compare everybody's outputs with ours; a peer that disagrees takes no part.

    Parameters
    ----------
    contestants : list of Contestant
        Get their `difference` and `tolerance`.
    expected : ndarray
    tolerance : float or ndarray
    left_out : dict
        Gets a line for each peer that disagrees.

    Returns
    -------
    list of Contestant

    Raises
    ------
    ValueError
        If one of ours disagrees.
    """
    kept = []
    for contestant in contestants:
        try:
            found = check_difference(contestant.name, contestant.run(), expected, tolerance)
        except ValueError as error:
            if contestant.ours:
                raise
            left_out[contestant.name] = str(error)
            continue
        contestant.difference, contestant.tolerance = found
        kept.append(contestant)
    return kept
