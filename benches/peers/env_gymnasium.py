"""Stepping CartPole-v1 with Gymnasium's own vectorised environment (numpy), random actions drawn beforehand."""

import job


def run(args):
    import gymnasium
    import numpy as np

    def prepare(num_envs):
        envs = gymnasium.make_vec(job.PPO["env"], num_envs=num_envs, vectorization_mode="vector_entry_point")
        envs.reset(seed=args.seed)
        actions = np.random.default_rng(args.seed).integers(0, 2, size=(job.ENV_ACTION_ROWS, num_envs))

        def call():
            for row in actions:
                envs.step(row)

        return call, job.ENV_ACTION_ROWS * num_envs

    return {"version": job.version("gymnasium", "numpy"), **job.env_report(prepare)}


if __name__ == "__main__":
    job.main("Gymnasium numpy", run)
