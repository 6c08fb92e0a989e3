"""Value iteration as a loop compiled by numba, with the span stop and the midrange correction: what an expert writes."""

import job


def run(args):
    import numba
    import numpy as np

    @numba.njit(fastmath=True, error_model="numpy")
    def solve(first_pair, first_entry, prob, following, reward, gamma, tol):
        states = len(first_pair) - 1
        v = np.zeros(states)
        new = np.zeros(states)
        sweeps = 0
        while True:
            sweeps += 1
            low, high = np.inf, -np.inf
            for s in range(states):
                best = -np.inf
                for pair in range(first_pair[s], first_pair[s + 1]):
                    total = 0.0
                    for j in range(first_entry[pair], first_entry[pair + 1]):
                        total += prob[j] * v[following[j]]
                    best = max(best, reward[pair] + gamma * total)
                new[s] = best
                low = min(low, best - v[s])
                high = max(high, best - v[s])
            v, new = new, v
            if gamma / (1 - gamma) * (high - low) / 2 <= tol:
                return v + gamma / (1 - gamma) * (high + low) / 2, sweeps

    def prepare(mdp):
        arrays = [mdp[name] for name in ("first_pair", "first_entry", "prob", "next", "reward")]
        return lambda: solve(*arrays, job.DP_GAMMA, job.DP_TOL)

    return {"version": job.version("numba"), **job.dp_report(args.data, prepare)}


if __name__ == "__main__":
    job.main("numba, span stop", run, [job.DP_DATA])
