"""Tabular Q-learning as Gymnasium's tutorials write it: one environment, one Python loop, numpy rows."""

import job


def run(args):
    import gymnasium
    import numpy as np

    def prepare(case):
        env = gymnasium.make(case["gymnasium"])
        actions = int(env.action_space.n)
        q = np.zeros((int(env.observation_space.n), actions))
        rng = np.random.default_rng(args.seed)
        alpha, gamma, epsilon = job.Q["alpha"], job.Q["gamma"], job.Q["epsilon"]
        state = [env.reset(seed=args.seed)[0]]
        steps = job.Q_STEPS // 100

        def call():
            s = state[0]
            for _ in range(steps):
                a = int(rng.integers(actions)) if rng.random() < epsilon else int(np.argmax(q[s]))
                following, reward, terminated, truncated, _ = env.step(a)
                target = reward + gamma * (not terminated) * np.max(q[following])
                q[s, a] += alpha * (target - q[s, a])
                s = env.reset()[0] if terminated or truncated else following
            state[0] = s
            starts = np.flatnonzero(env.unwrapped.initial_state_distrib)
            return float(q.max(axis=1)[starts].mean())

        return call, steps

    return {"version": job.version("gymnasium", "numpy"), **job.q_report(prepare)}


if __name__ == "__main__":
    job.main("Gymnasium loop", run)
