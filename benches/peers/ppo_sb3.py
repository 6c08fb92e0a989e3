"""PPO of Stable-Baselines3, with the job's hyper-parameters instead of its defaults."""

import time

import job


def run(args):
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    p = job.PPO
    envs = make_vec_env(p["env"], n_envs=p["num_envs"], seed=args.seed)
    hidden = [p["hidden"], p["hidden"]]
    batch_size = p["num_envs"] * p["num_steps"]
    agent = PPO(
        "MlpPolicy",
        envs,
        n_steps=p["num_steps"],
        batch_size=batch_size // p["num_minibatches"],
        n_epochs=p["update_epochs"],
        learning_rate=lambda remaining: p["learning_rate"] * remaining,
        gamma=p["gamma"],
        gae_lambda=p["gae_lambda"],
        clip_range=p["clip_eps"],
        clip_range_vf=p["clip_eps"],
        ent_coef=p["ent_coef"],
        # Its value loss is the squared error without the factor 1/2.
        vf_coef=p["vf_coef"] / 2,
        max_grad_norm=p["max_grad_norm"],
        policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}, "activation_fn": torch.nn.Tanh, "ortho_init": True,
                       "optimizer_kwargs": {"eps": p["adam_eps"]}},
        seed=args.seed,
        device="cpu",
    )
    start = time.perf_counter()
    agent.learn(args.steps // batch_size * batch_size)
    wall_seconds = time.perf_counter() - start

    # The monitors have kept the episodes; an environment's own step is one of `num_envs` taken together.
    episodes = job.Episodes()
    for lengths, returns in zip(envs.env_method("get_episode_lengths"), envs.env_method("get_episode_rewards")):
        step = 0
        for length, episode_return in zip(lengths, returns):
            step += length * p["num_envs"]
            episodes.add(step, episode_return)
    return {"version": job.version("stable-baselines3", "torch", "gymnasium"),
            **job.training_report(agent.num_timesteps, wall_seconds, 0.0, episodes)}


if __name__ == "__main__":
    job.main("Stable-Baselines3", run)
