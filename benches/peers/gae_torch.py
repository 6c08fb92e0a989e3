"""GAE as PyTorch implementations write it: a Python loop over time on tensors."""

import job


def run(args):
    import torch

    torch.set_num_threads(1)
    gamma, gae_lambda = job.GAE_GAMMA, job.GAE_LAMBDA

    def prepare(*arrays):
        reward, value, next_value, end = (torch.from_numpy(array) for array in arrays)
        goes_on, bootstraps = (end == 0).float(), (end != 1).float()

        def call():
            with torch.no_grad():
                advantage = torch.zeros_like(reward)
                following = torch.zeros(reward.shape[1])
                for t in reversed(range(reward.shape[0])):
                    delta = reward[t] + gamma * next_value[t] * bootstraps[t] - value[t]
                    advantage[t] = following = delta + gamma * gae_lambda * goes_on[t] * following
                return advantage, advantage + value

        return call

    return {"version": job.version("torch"), **job.gae_report(prepare)}


if __name__ == "__main__":
    job.main("PyTorch loop", run)
