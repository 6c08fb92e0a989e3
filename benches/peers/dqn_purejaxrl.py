"""DQN of PureJaxRL: environment, replay and learning in one compiled JAX program, one environment.

Needs a checkout of github.com/luchris429/purejaxrl, whose folder is given by --checkout or PUREJAXRL.
"""

import os
import sys
import time
import types

import job
from ppo_purejaxrl import COMMIT, source


def run(args):
    folder, commit = source(args.checkout)
    import jax
    import numpy as np

    # It logs to Weights and Biases only when asked to, and calls a function that newer versions of JAX have elsewhere.
    sys.modules.setdefault("wandb", types.ModuleType("wandb"))
    if not hasattr(jax, "tree_map"):
        jax.tree_map = jax.tree_util.tree_map
    sys.path.insert(0, str(folder))
    import dqn

    p = job.DQN
    config = {
        "NUM_ENVS": 1,
        "BUFFER_SIZE": p["buffer_size"],
        "BUFFER_BATCH_SIZE": p["batch_size"],
        "TOTAL_TIMESTEPS": args.steps,
        "EPSILON_START": p["start_e"],
        "EPSILON_FINISH": p["end_e"],
        "EPSILON_ANNEAL_TIME": p["exploration_fraction"] * args.steps,
        "TARGET_UPDATE_INTERVAL": p["target_network_frequency"],
        "LR": p["learning_rate"],
        "LEARNING_STARTS": p["learning_starts"],
        "TRAINING_INTERVAL": p["train_frequency"],
        "GAMMA": p["gamma"],
        "TAU": 1.0,
        "ENV_NAME": p["env"],
        "WANDB_MODE": "disabled",
    }
    key = jax.random.PRNGKey(args.seed)
    start = time.perf_counter()
    train = jax.jit(dqn.make_train(config)).lower(key).compile()
    compile_seconds = time.perf_counter() - start
    start = time.perf_counter()
    metrics = jax.block_until_ready(train(key))["metrics"]
    wall_seconds = time.perf_counter() - start

    # The last finished episode's return, repeated until the next one ends.
    returns = np.asarray(metrics["returns"])
    episodes = job.Episodes()
    for t in np.flatnonzero(np.diff(returns, prepend=0.0)):
        episodes.add(t + 1, returns[t])
    return {"version": f"{commit[:12]}, {job.version('jax', 'gymnax', 'flashbax')}", "commit": commit,
            "expected_commit": COMMIT, **job.training_report(returns.size, wall_seconds, compile_seconds, episodes)}


if __name__ == "__main__":
    job.main("PureJaxRL", run, [("--checkout", {"default": os.environ.get("PUREJAXRL"), "metavar": "DIR"})])
