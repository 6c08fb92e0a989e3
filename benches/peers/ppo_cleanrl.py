"""PPO in PyTorch in the single-file style of CleanRL, with its details and its hyper-parameters.

Written from the published description (Huang et al., 2022, "The 37 Implementation Details of Proximal Policy
Optimization"; Schulman et al., 2017). As there, a truncated episode counts as terminated, advantages are normalised per
minibatch, the value loss is clipped, the learning rate is annealed to zero, and every update logs its losses.
"""

import csv
import tempfile
import time

import job


def networks(torch, obs_size, num_actions, hidden):
    """Actor and critic: two tanh layers each, orthogonal weights of gain sqrt 2 (outputs 0.01 and 1), zero bias."""

    def linear(inputs, outputs, gain):
        layer = torch.nn.Linear(inputs, outputs)
        torch.nn.init.orthogonal_(layer.weight, gain)
        torch.nn.init.zeros_(layer.bias)
        return layer

    def tower(outputs, gain):
        return torch.nn.Sequential(
            linear(obs_size, hidden, 2**0.5), torch.nn.Tanh(),
            linear(hidden, hidden, 2**0.5), torch.nn.Tanh(),
            linear(hidden, outputs, gain),
        )

    return tower(num_actions, 0.01), tower(1, 1.0)


def run(args):
    import gymnasium
    import numpy as np
    import torch
    from torch.distributions import Categorical

    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    p = job.PPO
    num_envs, num_steps = p["num_envs"], p["num_steps"]
    batch_size = num_envs * num_steps
    minibatch_size = batch_size // p["num_minibatches"]
    num_updates = args.steps // batch_size

    # An environment that ends is reset within the same step, so that every row is a real transition.
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda: gymnasium.make(p["env"]) for _ in range(num_envs)],
        autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP,
    )
    obs_size = envs.single_observation_space.shape[0]
    actor, critic = networks(torch, obs_size, int(envs.single_action_space.n), p["hidden"])
    parameters = [*actor.parameters(), *critic.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=p["learning_rate"], eps=p["adam_eps"])

    obs = torch.zeros(num_steps, num_envs, obs_size)
    action, log_prob, reward, done, value = (torch.zeros(num_steps, num_envs) for _ in range(5))
    episodes = job.Episodes()
    running = np.zeros(num_envs)

    with tempfile.TemporaryFile("w", newline="") as log_file:
        log = csv.writer(log_file)
        start = time.perf_counter()
        first_obs, _ = envs.reset(seed=args.seed)
        next_obs, next_done = torch.as_tensor(first_obs, dtype=torch.float32), torch.zeros(num_envs)
        step = 0
        for update in range(num_updates):
            optimiser.param_groups[0]["lr"] = p["learning_rate"] * (1 - update / num_updates)

            for t in range(num_steps):
                obs[t], done[t] = next_obs, next_done
                with torch.no_grad():
                    policy = Categorical(logits=actor(next_obs))
                    chosen = policy.sample()
                    action[t], log_prob[t], value[t] = chosen, policy.log_prob(chosen), critic(next_obs).flatten()
                after, rewards, terminated, truncated, _ = envs.step(chosen.numpy())
                ended = np.logical_or(terminated, truncated)
                step += num_envs
                running += rewards
                for n in np.flatnonzero(ended):
                    episodes.add(step, running[n])
                    running[n] = 0
                reward[t] = torch.as_tensor(rewards)
                next_obs, next_done = torch.as_tensor(after), torch.as_tensor(ended, dtype=torch.float32)

            with torch.no_grad():
                advantage = torch.zeros_like(reward)
                following = torch.zeros(num_envs)
                later_value, alive = critic(next_obs).flatten(), 1 - next_done
                for t in reversed(range(num_steps)):
                    delta = reward[t] + p["gamma"] * later_value * alive - value[t]
                    following = delta + p["gamma"] * p["gae_lambda"] * alive * following
                    advantage[t] = following
                    later_value, alive = value[t], 1 - done[t]
                return_ = advantage + value

            flat = [x.reshape(batch_size, *x.shape[2:]) for x in (obs, action, log_prob, advantage, return_, value)]
            order = np.arange(batch_size)
            for _ in range(p["update_epochs"]):
                np.random.shuffle(order)
                for low in range(0, batch_size, minibatch_size):
                    rows = order[low : low + minibatch_size]
                    b_obs, b_action, b_log_prob, b_advantage, b_return, b_value = (x[rows] for x in flat)
                    policy = Categorical(logits=actor(b_obs))
                    log_ratio = policy.log_prob(b_action) - b_log_prob
                    ratio = log_ratio.exp()
                    with torch.no_grad():
                        approx_kl = (ratio - 1 - log_ratio).mean()
                        clip_fraction = ((ratio - 1).abs() > p["clip_eps"]).float().mean()

                    b_advantage = (b_advantage - b_advantage.mean()) / (b_advantage.std() + 1e-8)
                    clipped = ratio.clamp(1 - p["clip_eps"], 1 + p["clip_eps"])
                    policy_loss = -torch.min(ratio * b_advantage, clipped * b_advantage).mean()
                    new_value = critic(b_obs).flatten()
                    near_value = b_value + (new_value - b_value).clamp(-p["clip_eps"], p["clip_eps"])
                    errors = torch.max((new_value - b_return) ** 2, (near_value - b_return) ** 2)
                    value_loss = 0.5 * errors.mean()
                    entropy = policy.entropy().mean()
                    loss = policy_loss + p["vf_coef"] * value_loss - p["ent_coef"] * entropy

                    optimiser.zero_grad()
                    loss.backward()
                    torch.nn.utils.clip_grad_norm_(parameters, p["max_grad_norm"])
                    optimiser.step()

            spread = return_.var()
            explained = float("nan") if spread == 0 else (1 - (return_ - value).var() / spread).item()
            log.writerow([step, policy_loss.item(), value_loss.item(), entropy.item(), approx_kl.item(),
                          clip_fraction.item(), explained, optimiser.param_groups[0]["lr"]])
        wall_seconds = time.perf_counter() - start
    envs.close()
    return {"version": job.version("torch", "gymnasium"), **job.training_report(step, wall_seconds, 0.0, episodes)}


if __name__ == "__main__":
    job.main("CleanRL-style PyTorch", run)
