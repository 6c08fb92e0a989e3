"""The jobs that every contender does, and how a peer reports: one JSON line on standard output.

Only the standard library is imported here; the libraries under test are imported by the peers themselves, so that a
missing one is reported as missing.
"""

import argparse
import contextlib
import importlib.metadata
import json
import math
import statistics
import sys
import time
import traceback

# CleanRL's published defaults for CartPole-v1; the preset `cleanrl` of rederive holds the same numbers.
PPO = {
    "env": "CartPole-v1",
    "num_envs": 4,
    "num_steps": 128,
    "update_epochs": 4,
    "num_minibatches": 4,
    "hidden": 64,
    "learning_rate": 2.5e-4,
    "adam_eps": 1e-5,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_eps": 0.2,
    "ent_coef": 0.01,
    "vf_coef": 0.5,
    "max_grad_norm": 0.5,
}
# CleanRL's published defaults of dqn.py; exploration falls over half of the run, whatever its length.
DQN = {
    "env": "CartPole-v1",
    "hidden": [120, 84],
    "learning_rate": 2.5e-4,
    "buffer_size": 10_000,
    "gamma": 0.99,
    "target_network_frequency": 500,
    "batch_size": 128,
    "start_e": 1.0,
    "end_e": 0.05,
    "exploration_fraction": 0.5,
    "learning_starts": 10_000,
    "train_frequency": 10,
}
# sb3-contrib's defaults; the preset `sb3` of rederive holds the same numbers.
TRPO = {
    "env": "CartPole-v1",
    "n_steps": 2048,
    "batch_size": 128,
    "hidden": [64, 64],
    "learning_rate": 1e-3,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "target_kl": 0.01,
    "cg_max_steps": 15,
    "cg_damping": 0.1,
    "line_search_shrinking_factor": 0.8,
    "line_search_max_iter": 10,
    "n_critic_updates": 10,
    "normalize_advantage": True,
}
# The jobs that are whole training runs: settings, rederive's preset, steps by default.
TRAINING = {"ppo": (PPO, "cleanrl", 500_000), "dqn": (DQN, "cleanrl", 500_000), "trpo": (TRPO, "sb3", 100_000)}
THRESHOLD = 475.0
WINDOW = 100

GAE_SHAPES = [(128, 8), (128, 4096), (2048, 2048)]
GAE_GAMMA, GAE_LAMBDA = 0.99, 0.95

ENV_SIZES = [4, 4096]
ENV_ACTION_ROWS = 64

# MinAtar's images (Breakout and Asterix have 4 channels, SpaceInvaders 6, Freeway 7, Seaquest 10), in batches.
CONV_DEPTHS, CONV_BATCH = [4, 6, 7, 10], 32

# Tabular Q-learning with constant steps, from a table of zeros; the first of equal values is the best.
Q = {"alpha": 0.1, "gamma": 0.99, "epsilon": 0.1}
Q_CASES = [{"case": "FrozenLake-v1", "gymnasium": "FrozenLake-v1"}, {"case": "Taxi-v3", "gymnasium": "Taxi-v4"}]
Q_STEPS = 1_000_000

# Finite processes, solved until every value is proven to be within DP_TOL of the optimum: at this discount, until the
# Bellman error is 1e-6. `rederive-peer dp-data DIR` writes them as .npz files in this order.
DP_GAMMA, DP_TOL = 0.99, 1e-4
DP_CASES = ["random:100000x8x8", "random:1000000x4x4", "lake:300x300", "hill:300x300", "FrozenLake8x8-v1", "Taxi-v3"]
DP_DATA = ("--data", {"required": True, "metavar": "DIR", "help": "folder with what `rederive-peer dp-data` wrote"})


class Missing(Exception):
    """The peer is not installed; the text says what it needs."""


class Episodes:
    """Returns of finished episodes, with the environment step (over all environments) at which each ended."""

    def __init__(self):
        self.ended = []

    def add(self, step, episode_return):
        self.ended.append((int(step), float(episode_return)))

    def summary(self):
        returns = [episode_return for _, episode_return in sorted(self.ended, key=lambda e: e[0])]
        steps = sorted(step for step, _ in self.ended)
        first = None
        for last in range(WINDOW, len(returns) + 1):
            if sum(returns[last - WINDOW : last]) / WINDOW >= THRESHOLD:
                first = steps[last - 1]
                break
        tail = returns[-WINDOW:]
        return {
            "episodes": len(returns),
            "final_return_mean": sum(tail) / len(tail) if tail else None,
            "first_step_at_threshold": first,
        }


def training_report(steps, wall_seconds, compile_seconds, episodes):
    """The fields of a training run. `wall_seconds` is the training loop: environments, inference, learning, logging."""
    return {
        "steps": int(steps),
        "wall_seconds": wall_seconds,
        "steps_per_second": steps / wall_seconds,
        "compile_seconds": compile_seconds,
        **episodes.summary(),
    }


def uniform(salt, *shape):
    """The same pseudo-random numbers in [0, 1) in every language, f32."""
    import numpy as np

    with np.errstate(over="ignore"):
        x = np.arange(math.prod(shape), dtype=np.uint32) + np.uint32(salt * 0x9E3779B9 & 0xFFFFFFFF)
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        x = x ^ (x >> np.uint32(16))
    return ((x >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def gae_data(*shape):
    """The same rollout in every language: reward, value, next_value f32 and end u8, each [T, N]."""
    import numpy as np

    chance = uniform(4, *shape)
    end = np.where(chance < 0.01, 1, np.where(chance < 0.02, 2, 0)).astype(np.uint8)
    return uniform(1, *shape), uniform(2, *shape) * 10 - 5, uniform(3, *shape) * 10 - 5, end


def seconds_per_call(call, budget=0.5, batched=False):
    """The median over batches of calls, each batch long enough for the clock.

    A `batched` call takes the number of repetitions itself, so that no Python is between two of them.
    """

    def batch(calls):
        start = time.perf_counter()
        if batched:
            call(calls)
        else:
            for _ in range(calls):
                call()
        return (time.perf_counter() - start) / calls

    batch(1)
    once = max(batch(1), 1e-7)
    calls = max(1, int(1e-3 / once))
    batches = max(5, min(200, int(budget / (once * calls))))
    return statistics.median(batch(calls) for _ in range(batches))


def gae_report(prepare, batched=False):
    """Times `prepare(reward, value, next_value, end)() -> (advantage, return)` on every shape.

    The means of both outputs are reported, so that `compare.py` sees whether all contenders computed the same thing.
    """
    import numpy as np

    cases = []
    for num_steps, num_envs in GAE_SHAPES:
        call = prepare(*gae_data(num_steps, num_envs))
        start = time.perf_counter()
        advantage, return_ = call()
        first = time.perf_counter() - start
        means = [float(np.asarray(a).astype(np.float64).mean()) for a in (advantage, return_)]
        seconds = seconds_per_call(call, batched=batched)
        cases.append({"case": f"{num_steps}x{num_envs}", "items": num_steps * num_envs, "seconds": seconds,
                      "items_per_second": num_steps * num_envs / seconds, "first_call_seconds": first,
                      "check": means})
    return {"cases": cases}


def conv_data(depth, network):
    """Images [32, 10, 10, depth], the gradient at the outputs, and weights and biases: of a convolution with 16 channels of
    3 x 3 (weights [3, 3, depth, 16]) and, for the network, of dense layers with 128 and 6 units after it (weights
    [in, out]; the first of them takes the images [8, 8, 16] in this order)."""
    shapes = [(3, 3, depth, 16), (16,)]
    if network:
        shapes += [(1024, 128), (128,), (128, 6), (6,)]
    weights = [(uniform(i + 3, *shape) - 0.5) * 2 / math.sqrt(math.prod(shape[:-1])) for i, shape in enumerate(shapes)]
    outputs = (CONV_BATCH, 6) if network else (CONV_BATCH, 8, 8, 16)
    return uniform(1, CONV_BATCH, 10, 10, depth), uniform(2, *outputs) - 0.5, weights


def conv_report(prepare):
    """Times `prepare(images, d_outputs, weights)() -> (outputs, gradients of the weights)`, forward and backward, with
    ReLU between layers and no gradient at the images.

    The means of outputs and squares are reported, so that `compare.py` sees whether all contenders computed the same thing.
    """
    import numpy as np

    cases = []
    for network in (False, True):
        for depth in CONV_DEPTHS:
            call = prepare(*conv_data(depth, network))
            start = time.perf_counter()
            output, gradients = call()
            first = time.perf_counter() - start
            output = np.asarray(output, np.float64)
            gradients = np.concatenate([np.asarray(g, np.float64).ravel() for g in gradients])
            seconds = seconds_per_call(call, budget=1.0)
            cases.append({"case": f"{'network' if network else 'layer'} 10x10x{depth}", "items": CONV_BATCH,
                          "seconds": seconds, "items_per_second": CONV_BATCH / seconds, "first_call_seconds": first,
                          "check": [output.mean(), (output**2).mean(), (gradients**2).mean()]})
    return {"cases": cases}


def env_report(prepare):
    """Times `prepare(num_envs)`, which returns a function that takes some steps and the number of environment steps
    that one call takes."""
    cases = []
    for num_envs in ENV_SIZES:
        call, steps = prepare(num_envs)
        seconds = seconds_per_call(call, budget=2.0)
        cases.append({"case": f"{num_envs} environments", "items": steps, "seconds": seconds,
                      "items_per_second": steps / seconds})
    return {"cases": cases}


def q_report(prepare):
    """Times `prepare(case)`, which returns a function that takes some steps with their updates, and their number. The
    function returns the mean over the start states of the best action's value, reported as it is at the end."""
    cases = []
    for case in Q_CASES:
        call, steps = prepare(case)
        start = time.perf_counter()
        call()
        first = time.perf_counter() - start
        seconds = seconds_per_call(call, budget=2.0)
        cases.append({"case": case["case"], "items": steps, "seconds": seconds, "items_per_second": steps / seconds,
                      "first_call_seconds": first, "start_value": call()})
    return {"cases": cases}


def dp_load(folder, index):
    """A process as arrays, with one absorbing state more that takes what ends the episode, if anything does."""
    import numpy as np
    import scipy.sparse

    with np.load(f"{folder}/{index}.npz") as file:
        mdp = {name: file[name] for name in file.files}
    if "num_actions" in mdp:
        mdp["first_pair"] = np.arange(0, len(mdp["first_entry"]), int(mdp.pop("num_actions")))
    for name in ("first_pair", "first_entry", "next"):
        mdp[name] = mdp[name].astype(np.int64)
    pairs, states = len(mdp["first_entry"]) - 1, len(mdp["first_pair"]) - 1
    rows = np.repeat(np.arange(pairs), np.diff(mdp["first_entry"]))
    over = mdp.pop("terminated", np.zeros(len(rows), bool)).astype(bool)
    end = 1 - np.bincount(rows[~over], mdp["prob"][~over], pairs)
    matrix = scipy.sparse.csr_matrix((mdp["prob"][~over], (rows[~over], mdp["next"][~over])), (pairs, states))
    if len(mdp["reward"]) != pairs:
        mdp["reward"] = np.bincount(rows, mdp["prob"] * mdp["reward"], pairs)
    if end.max() > 1e-6:
        end = np.append(np.where(end > 1e-9, end, 0), 1.0)
        matrix.resize((pairs + 1, states))
        matrix = scipy.sparse.hstack([matrix, scipy.sparse.csr_matrix(end[:, None])], format="csr")
        mdp["reward"] = np.append(mdp["reward"], 0.0)
        mdp["first_pair"] = np.append(mdp["first_pair"], pairs + 1)
    actions = np.diff(mdp["first_pair"])
    mdp.update(
        matrix=matrix, first_entry=matrix.indptr.astype(np.int64), next=matrix.indices, prob=matrix.data,
        state=np.repeat(np.arange(len(actions)), actions),
        action=np.arange(len(mdp["reward"])) - np.repeat(mdp["first_pair"][:-1], actions), states=states)
    return mdp


def dp_report(folder, prepare, most_entries=None, repeat=True):
    """Times `prepare(mdp)() -> (values, iterations)` on every process; setting up is reported apart. The mean value is
    reported, so that `compare.py` sees whether all contenders computed the same thing."""
    cases = []
    for index, case in enumerate(DP_CASES):
        mdp = dp_load(folder, index)
        if most_entries and len(mdp["prob"]) > most_entries:
            continue
        start = time.perf_counter()
        call = prepare(mdp)
        setup = time.perf_counter() - start
        start = time.perf_counter()
        value, iterations = call()
        first = time.perf_counter() - start
        seconds = seconds_per_call(call, budget=1.0) if repeat or first < 0.1 else first
        cases.append({"case": case, "items": 1, "seconds": seconds, "items_per_second": 1 / seconds,
                      "setup_seconds": setup, "first_call_seconds": first, "iterations": iterations,
                      "check": [float(value[: mdp["states"]].mean())]})
    return {"cases": cases}


def version(*packages):
    """`name version` of the installed packages."""
    return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)


def peak_memory_mb():
    """This process's largest resident set so far, in MB (10^6 bytes)."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def main(peer, run, arguments=()):
    """Runs a peer: `run(args)` returns the fields of the report. `arguments` are extra (flag, keywords) pairs."""
    parser = argparse.ArgumentParser(description=f"One run of {peer}; prints one JSON line.")
    parser.add_argument("--steps", type=int, default=500_000, help="environment steps of a training run")
    parser.add_argument("--seed", type=int, default=1)
    for flag, keywords in arguments:
        parser.add_argument(flag, **keywords)
    args = parser.parse_args()
    start = time.perf_counter()
    code = 0
    # Whatever a library prints goes to standard error: standard output is the report alone.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            report = run(args)
            report["inside_seconds"] = time.perf_counter() - start
            report["peak_memory_mb"] = peak_memory_mb()
        except (ImportError, Missing) as error:
            report = {"missing": str(error)}
            code = 3
        except Exception as error:  # The report is the only channel: say what went wrong there, too.
            traceback.print_exc()
            report = {"failed": f"{type(error).__name__}: {error}"}
            code = 1
    print(json.dumps({"peer": peer, **report}), flush=True)
    sys.exit(code)
