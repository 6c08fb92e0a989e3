"""quantecon's DiscreteDP by modified policy iteration, its quickest method on these processes."""

import job


def run(args):
    import quantecon

    def prepare(mdp):
        ddp = quantecon.markov.DiscreteDP(
            mdp["reward"], mdp["matrix"], job.DP_GAMMA, s_indices=mdp["state"], a_indices=mdp["action"])

        def call():
            result = ddp.solve(method="modified_policy_iteration", epsilon=job.DP_TOL, max_iter=100_000)
            return result.v, result.num_iter

        return call

    return {"version": job.version("quantecon", "numba"), **job.dp_report(args.data, prepare)}


if __name__ == "__main__":
    job.main("quantecon", run, [job.DP_DATA])
