"""GAE in numpy: whole rows, backwards in time."""

import job


def run(args):
    import numpy as np

    gamma, chain = np.float32(job.GAE_GAMMA), np.float32(job.GAE_GAMMA * job.GAE_LAMBDA)

    def prepare(reward, value, next_value, end):
        def call():
            bootstrap = np.where(end == 1, np.float32(0), gamma * next_value)
            advantage = reward + bootstrap - value
            carry = np.where(end == 0, chain, np.float32(0))
            for t in range(len(advantage) - 2, -1, -1):
                advantage[t] += carry[t] * advantage[t + 1]
            return advantage, advantage + value

        return call

    return {"version": job.version("numpy"), **job.gae_report(prepare)}


if __name__ == "__main__":
    job.main("numpy", run)
