"""PPO of PufferLib 1.0: its package for the environments, and the trainer `clean_pufferl.py` of its repository.

Needs the package (requirements-pufferlib.txt, in an environment of its own) and a checkout of
github.com/PufferAI/PufferLib, whose folder is given by --checkout or PUFFERLIB. Its minibatches are segments of 16
steps in a fixed order, and it takes a time limit for a death; the other numbers are the job's.
"""

import functools
import os
import pathlib
import sys
import tempfile
import time

import job
from ppo_cleanrl import networks

REPOSITORY = "github.com/PufferAI/PufferLib"
COMMIT = "91460f7b14edd1b43d6b19150cef5c51b80cbb7f"


def run(args):
    needs = f"needs a checkout of {REPOSITORY} at {COMMIT[:12]}; give its folder with --pufferlib or PUFFERLIB"
    if not args.checkout:
        raise job.Missing(needs)
    if not (pathlib.Path(args.checkout) / "clean_pufferl.py").is_file():
        raise job.Missing(f"{args.checkout} has no clean_pufferl.py: {needs}")
    import gymnasium
    import pufferlib
    import pufferlib.emulation
    import pufferlib.frameworks.cleanrl
    import pufferlib.vector
    import torch

    # Behind the installed package, so that the package's compiled extensions win over the checkout's sources.
    sys.path.append(str(args.checkout))
    import clean_pufferl

    # It pickles the whole policy at the end; a checkpoint is no part of the job.
    clean_pufferl.save_checkpoint = lambda data: None
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    p = job.PPO
    batch_size = p["num_envs"] * p["num_steps"]
    steps = args.steps // batch_size * batch_size
    finished = []

    class Recorded(gymnasium.Wrapper):
        """Notes the length and the return of every episode."""

        def reset(self, **keywords):
            self.length, self.total = 0, 0.0
            return self.env.reset(**keywords)

        def step(self, action):
            obs, reward, terminated, truncated, info = self.env.step(action)
            self.length += 1
            self.total += reward
            if terminated or truncated:
                self.log.append((self.length, self.total))
            return obs, reward, terminated, truncated, info

    def make():
        env = Recorded(gymnasium.make(p["env"]))
        env.log = []
        finished.append(env.log)
        return pufferlib.emulation.GymnasiumPufferEnv(env=env)

    class ActorCritic(torch.nn.Module):
        def __init__(self, obs_size, num_actions):
            super().__init__()
            self.actor, self.critic = networks(torch, obs_size, num_actions, p["hidden"])

        def forward(self, obs):
            return self.actor(obs), self.critic(obs)

    envs = pufferlib.vector.make(make, backend=pufferlib.vector.Serial, num_envs=p["num_envs"])
    policy = pufferlib.frameworks.cleanrl.Policy(
        ActorCritic(envs.single_observation_space.shape[0], int(envs.single_action_space.n))
    )
    with tempfile.TemporaryDirectory() as data_dir:
        config = pufferlib.namespace(
            env=p["env"], exp_id="peer", data_dir=data_dir, checkpoint_interval=10**9, seed=args.seed,
            torch_deterministic=True, device="cpu", cpu_offload=False, compile=False, compile_mode="default",
            total_timesteps=steps, batch_size=batch_size, minibatch_size=batch_size // p["num_minibatches"],
            bptt_horizon=16, update_epochs=p["update_epochs"], learning_rate=p["learning_rate"], anneal_lr=True,
            gamma=p["gamma"], gae_lambda=p["gae_lambda"], norm_adv=True, clip_coef=p["clip_eps"], clip_vloss=True,
            vf_clip_coef=p["clip_eps"], vf_coef=p["vf_coef"], ent_coef=p["ent_coef"],
            max_grad_norm=p["max_grad_norm"], target_kl=None,
        )
        data = clean_pufferl.create(config, envs, policy)
        start = time.perf_counter()
        while data.global_step < steps:
            clean_pufferl.evaluate(data)
            clean_pufferl.train(data)
        wall_seconds = time.perf_counter() - start
        clean_pufferl.close(data)

    episodes = job.Episodes()
    for log in finished:
        step = 0
        for length, episode_return in log:
            step += length * p["num_envs"]
            episodes.add(step, episode_return)
    return {"version": job.version("pufferlib", "torch", "gymnasium"),
            **job.training_report(data.global_step, wall_seconds, 0.0, episodes)}


if __name__ == "__main__":
    job.main("PufferLib", run, [("--checkout", {"default": os.environ.get("PUFFERLIB"), "metavar": "DIR"})])
