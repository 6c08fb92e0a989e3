"""DQN of Stable-Baselines3, with the job's hyper-parameters instead of its defaults."""

import time

import job


def run(args):
    import torch
    from stable_baselines3 import DQN
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    p = job.DQN
    envs = make_vec_env(p["env"], n_envs=1, seed=args.seed)
    agent = DQN(
        "MlpPolicy",
        envs,
        learning_rate=p["learning_rate"],
        buffer_size=p["buffer_size"],
        learning_starts=p["learning_starts"],
        batch_size=p["batch_size"],
        gamma=p["gamma"],
        train_freq=p["train_frequency"],
        gradient_steps=1,
        target_update_interval=p["target_network_frequency"],
        exploration_fraction=p["exploration_fraction"],
        exploration_initial_eps=p["start_e"],
        exploration_final_eps=p["end_e"],
        # Its loss is Huber's, and its largest gradient norm 10.
        policy_kwargs={"net_arch": p["hidden"], "activation_fn": torch.nn.ReLU},
        seed=args.seed,
        device="cpu",
    )
    start = time.perf_counter()
    agent.learn(args.steps)
    wall_seconds = time.perf_counter() - start

    episodes = job.Episodes()
    for lengths, returns in zip(envs.env_method("get_episode_lengths"), envs.env_method("get_episode_rewards")):
        step = 0
        for length, episode_return in zip(lengths, returns):
            step += length
            episodes.add(step, episode_return)
    return {"version": job.version("stable-baselines3", "torch", "gymnasium"),
            **job.training_report(agent.num_timesteps, wall_seconds, 0.0, episodes)}


if __name__ == "__main__":
    job.main("Stable-Baselines3", run)
