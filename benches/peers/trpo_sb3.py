"""TRPO of sb3-contrib with its defaults."""

import time

import job


def run(args):
    import torch
    from sb3_contrib import TRPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    p = job.TRPO
    envs = make_vec_env(p["env"], n_envs=1, seed=args.seed)
    # What is not given here is the default, and job.TRPO says the same.
    given = {key: value for key, value in p.items() if key not in ("env", "hidden")}
    agent = TRPO("MlpPolicy", envs, **given, policy_kwargs={"net_arch": p["hidden"]}, seed=args.seed, device="cpu")
    start = time.perf_counter()
    agent.learn(args.steps // p["n_steps"] * p["n_steps"])
    wall_seconds = time.perf_counter() - start

    episodes = job.Episodes()
    for lengths, returns in zip(envs.env_method("get_episode_lengths"), envs.env_method("get_episode_rewards")):
        step = 0
        for length, episode_return in zip(lengths, returns):
            step += length
            episodes.add(step, episode_return)
    return {"version": job.version("sb3-contrib", "stable-baselines3", "torch", "gymnasium"),
            **job.training_report(agent.num_timesteps, wall_seconds, 0.0, episodes)}


if __name__ == "__main__":
    job.main("sb3-contrib", run)
