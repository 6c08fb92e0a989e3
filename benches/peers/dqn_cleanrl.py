"""DQN in PyTorch in the single-file style of CleanRL, with its details and its hyper-parameters.

Written from the published description (Mnih et al., 2015, "Human-level control through deep reinforcement learning";
Huang et al., 2022). As there, one environment is stepped, a truncated episode bootstraps from its final observation, every
ten steps learn from one uniform batch, and the losses are logged every hundred steps.
"""

import csv
import random
import tempfile
import time

import job


def network(torch, obs_size, num_actions, hidden):
    """ReLU layers with PyTorch's starting weights."""
    sizes = [obs_size, *hidden]
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], num_actions))


class Replay:
    """A ring of transitions in numpy arrays."""

    def __init__(self, np, capacity, obs_size):
        self.obs, self.next_obs = (np.zeros((capacity, obs_size), np.float32) for _ in range(2))
        self.action = np.zeros(capacity, np.int64)
        self.reward, self.terminated = (np.zeros(capacity, np.float32) for _ in range(2))
        self.capacity, self.added = capacity, 0

    def add(self, obs, next_obs, action, reward, terminated):
        i = self.added % self.capacity
        self.obs[i], self.next_obs[i], self.action[i], self.reward[i] = obs, next_obs, action, reward
        self.terminated[i] = terminated
        self.added += 1

    def sample(self, np, size):
        rows = np.random.randint(0, min(self.added, self.capacity), size)
        return self.obs[rows], self.next_obs[rows], self.action[rows], self.reward[rows], self.terminated[rows]


def run(args):
    import gymnasium
    import numpy as np
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    random.seed(args.seed)
    p = job.DQN
    env = gymnasium.make(p["env"])
    env.action_space.seed(args.seed)
    num_actions, obs_size = int(env.action_space.n), env.observation_space.shape[0]
    online, target = (network(torch, obs_size, num_actions, p["hidden"]) for _ in range(2))
    target.load_state_dict(online.state_dict())
    optimiser = torch.optim.Adam(online.parameters(), lr=p["learning_rate"])
    replay = Replay(np, p["buffer_size"], obs_size)
    slope = (p["end_e"] - p["start_e"]) / (p["exploration_fraction"] * args.steps)
    episodes, running = job.Episodes(), 0.0

    with tempfile.TemporaryFile("w", newline="") as log_file:
        log = csv.writer(log_file)
        start = time.perf_counter()
        obs, _ = env.reset(seed=args.seed)
        for step in range(args.steps):
            if random.random() < max(p["start_e"] + slope * step, p["end_e"]):
                action = int(env.action_space.sample())
            else:
                with torch.no_grad():
                    action = int(online(torch.as_tensor(obs)).argmax())
            next_obs, reward, terminated, truncated, _ = env.step(action)
            replay.add(obs, next_obs, action, reward, terminated)
            running += reward
            obs = next_obs
            if terminated or truncated:
                episodes.add(step + 1, running)
                running = 0.0
                obs, _ = env.reset()

            if step > p["learning_starts"]:
                if step % p["train_frequency"] == 0:
                    b_obs, b_next, b_action, b_reward, b_terminated = (
                        torch.as_tensor(x) for x in replay.sample(np, p["batch_size"]))
                    with torch.no_grad():
                        best = target(b_next).max(dim=1).values
                        wanted = b_reward + p["gamma"] * best * (1 - b_terminated)
                    value = online(b_obs).gather(1, b_action[:, None]).squeeze(1)
                    loss = torch.nn.functional.mse_loss(value, wanted)
                    if step % 100 == 0:
                        log.writerow([step, loss.item(), value.mean().item()])
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                if step % p["target_network_frequency"] == 0:
                    target.load_state_dict(online.state_dict())
        wall_seconds = time.perf_counter() - start
    env.close()
    return {"version": job.version("torch", "gymnasium"),
            **job.training_report(args.steps, wall_seconds, 0.0, episodes)}


if __name__ == "__main__":
    job.main("CleanRL-style PyTorch", run)
