"""Tabular Q-learning as a loop compiled by numba over the transition tables of Gymnasium's environments.

An expert's loop: a table of thresholds per state and action, one xorshift word per decision, no call per step.
"""

import job


def run(args):
    import gymnasium
    import numba
    import numpy as np

    @numba.njit(inline="always")
    def word(state):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        return state

    @numba.njit(cache=False, boundscheck=False, error_model="numpy")
    def learn(q, threshold, following, reward, terminated, starts, limit, alpha, gamma, below, steps, rng, s, elapsed):
        actions = q.shape[1]
        outcomes = following.shape[1]
        episodes = 0
        for _ in range(steps):
            rng = word(rng)
            coin = rng >> np.uint64(32)
            if coin < below:
                a = np.int64(((rng & np.uint64(0xFFFFFFFF)) * np.uint64(actions)) >> np.uint64(32))
            else:
                a = 0
                best = q[s, 0]
                for b in range(1, actions):
                    if q[s, b] > best:
                        best = q[s, b]
                        a = b
            pair = s * actions + a
            k = 0
            if outcomes > 1:
                rng = word(rng)
                u = rng >> np.uint64(32)
                for j in range(outcomes - 1):
                    k += threshold[pair, j] <= u
            nxt = np.int64(following[pair, k])
            target = reward[pair, k]
            elapsed += 1
            done = terminated[pair, k]
            if not done:
                best = q[nxt, 0]
                for b in range(1, actions):
                    best = max(best, q[nxt, b])
                target += gamma * best
            q[s, a] += alpha * (target - q[s, a])
            if done or elapsed >= limit:
                episodes += 1
                elapsed = 0
                rng = word(rng)
                nxt = np.int64(starts[((rng >> np.uint64(32)) * np.uint64(len(starts))) >> np.uint64(32)])
            s = nxt
        return rng, s, elapsed, episodes

    def prepare(case):
        env = gymnasium.make(case["gymnasium"])
        table, limit = env.unwrapped.P, env.spec.max_episode_steps
        states, actions = env.observation_space.n, env.action_space.n
        width = max(len(row) for rows in table.values() for row in rows.values())
        threshold = np.full((states * actions, max(width - 1, 1)), 2**32, np.uint64)
        following = np.zeros((states * actions, width), np.uint32)
        reward = np.zeros((states * actions, width), np.float32)
        terminated = np.zeros((states * actions, width), np.bool_)
        for s, rows in table.items():
            for a, row in rows.items():
                total = 0.0
                for k, (prob, to, gain, end) in enumerate(row):
                    total += prob
                    if k + 1 < len(row):
                        threshold[s * actions + a, k] = min(int(total * 2**32), 2**32)
                    following[s * actions + a, k] = to
                    reward[s * actions + a, k] = gain
                    terminated[s * actions + a, k] = end
        starts = np.flatnonzero(env.unwrapped.initial_state_distrib).astype(np.uint32)
        q = np.zeros((states, actions), np.float32)
        carry = [np.uint64(0x9E3779B97F4A7C15 + args.seed), np.int64(starts[0]), np.int64(0)]
        settings = (np.int64(limit), np.float32(job.Q["alpha"]), np.float32(job.Q["gamma"]),
                    np.uint64(job.Q["epsilon"] * 2**32))

        def call():
            rng, s, elapsed, _ = learn(q, threshold, following, reward, terminated, starts, *settings,
                                       np.int64(job.Q_STEPS), *carry)
            carry[:] = np.uint64(rng), np.int64(s), np.int64(elapsed)
            return float(q.max(axis=1)[starts].mean())

        return call, job.Q_STEPS

    return {"version": job.version("numba", "gymnasium"), **job.q_report(prepare)}


if __name__ == "__main__":
    job.main("numba loop", run)
