"""mdpsolver (C++) by modified policy iteration, its default. Its set-up copies Python lists and is reported apart."""

import job


def run(args):
    import mdpsolver
    import numpy as np

    def prepare(mdp):
        states = len(mdp["first_pair"]) - 1
        rewards, probs, columns = [], [], []
        for s in range(states):
            pairs = range(mdp["first_pair"][s], mdp["first_pair"][s + 1])
            rewards.append([float(mdp["reward"][pair]) for pair in pairs])
            rows = [slice(mdp["first_entry"][pair], mdp["first_entry"][pair + 1]) for pair in pairs]
            probs.append([mdp["prob"][row].tolist() for row in rows])
            columns.append([mdp["next"][row].tolist() for row in rows])
        model = mdpsolver.model()
        model.mdp(discount=job.DP_GAMMA, rewards=rewards, tranMatProbs=probs,
                  tranMatColumns=columns)

        # Without it, a solver that is called again starts from its own solution.
        start = [0.0] * states

        def call():
            model.solve(algorithm="mpi", tolerance=job.DP_TOL, parallel=False, verbose=False,
                        initValueVector=start)
            return np.array(model.getValueVector()), None

        return call

    # Python lists of the largest process would take more memory than the machine has.
    return {"version": job.version("mdpsolver"), **job.dp_report(args.data, prepare, most_entries=10_000_000, repeat=False)}


if __name__ == "__main__":
    job.main("mdpsolver", run, [job.DP_DATA])
