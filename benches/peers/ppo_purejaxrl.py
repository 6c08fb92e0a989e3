"""PPO of PureJaxRL: environment, rollout and learning in one compiled JAX program.

Needs a checkout of github.com/luchris429/purejaxrl, whose folder is given by --checkout or PUREJAXRL.
"""

import os
import pathlib
import subprocess
import sys
import time
import types

import job

REPOSITORY = "github.com/luchris429/purejaxrl"
COMMIT = "31756b197773a52db763fdbe6d635e4b46522a73"


def source(checkout):
    """The folder of PureJaxRL's modules, and the commit that is checked out."""
    needs = f"needs a checkout of {REPOSITORY} at {COMMIT[:12]}; give its folder with --purejaxrl or PUREJAXRL"
    if not checkout:
        raise job.Missing(needs)
    folder = pathlib.Path(checkout) / "purejaxrl"
    if not (folder / "ppo.py").is_file():
        raise job.Missing(f"{folder} has no ppo.py: {needs}")
    found = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True)
    return folder, found.stdout.strip() or "unknown commit"


def stand_in_for_unused_imports():
    """Its wrappers import Brax and Navix for other environments; CartPole needs neither, so that empty modules do."""
    for name in ("brax", "brax.envs", "brax.envs.wrappers", "brax.envs.wrappers.training", "navix"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["brax"].envs = sys.modules["brax.envs"]
    training = sys.modules["brax.envs.wrappers.training"]
    training.EpisodeWrapper = training.AutoResetWrapper = None


def run(args):
    folder, commit = source(args.checkout)
    import jax
    import numpy as np

    stand_in_for_unused_imports()
    sys.path.insert(0, str(folder))
    import ppo

    p = job.PPO
    config = {
        "LR": p["learning_rate"],
        "NUM_ENVS": p["num_envs"],
        "NUM_STEPS": p["num_steps"],
        "TOTAL_TIMESTEPS": args.steps,
        "UPDATE_EPOCHS": p["update_epochs"],
        "NUM_MINIBATCHES": p["num_minibatches"],
        "GAMMA": p["gamma"],
        "GAE_LAMBDA": p["gae_lambda"],
        "CLIP_EPS": p["clip_eps"],
        "ENT_COEF": p["ent_coef"],
        "VF_COEF": p["vf_coef"],
        "MAX_GRAD_NORM": p["max_grad_norm"],
        "ACTIVATION": "tanh",
        "ENV_NAME": p["env"],
        "ANNEAL_LR": True,
    }
    key = jax.random.PRNGKey(args.seed)
    start = time.perf_counter()
    train = jax.jit(ppo.make_train(config)).lower(key).compile()
    compile_seconds = time.perf_counter() - start
    start = time.perf_counter()
    metrics = jax.block_until_ready(train(key))["metrics"]
    wall_seconds = time.perf_counter() - start

    ended = np.asarray(metrics["returned_episode"]).reshape(-1, p["num_envs"])
    returns = np.asarray(metrics["returned_episode_returns"]).reshape(-1, p["num_envs"])
    episodes = job.Episodes()
    for t, n in zip(*np.nonzero(ended)):
        episodes.add((t + 1) * p["num_envs"], returns[t, n])
    return {"version": f"{commit[:12]}, {job.version('jax', 'gymnax')}", "commit": commit,
            "expected_commit": COMMIT, **job.training_report(ended.size, wall_seconds, compile_seconds, episodes)}


if __name__ == "__main__":
    job.main("PureJaxRL", run, [("--checkout", {"default": os.environ.get("PUREJAXRL"), "metavar": "DIR"})])
