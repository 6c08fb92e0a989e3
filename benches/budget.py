#!/usr/bin/env python3
"""Says where the time of a PPO iteration goes, from the benchmarks collected in book/measured/bench.json.

    cargo bench -p rederive-benches -- 'nn|ppo|opt|fma'
    cargo run -p rederive-book -- collect-bench
    python3 benches/budget.py

Writes book/measured/budget.md.
"""

import json

from returns import ROOT

# CartPole-v1 with CleanRL's settings: 512 steps, 4 epochs of 4 minibatches of 128, actor and critic of 2 x 64 units.
STEPS, GRADIENT_STEPS, NETWORKS = 512, 16, 2
# Forward costs 2 flop per weight and row; backward twice that, less the gradient at the inputs of the first layer. A step is
# acted on once and learnt from four times. Activations and the optimiser are not counted.
WEIGHTS = {"actor": (256, 4096, 128), "critic": (256, 4096, 64)}
FLOP = sum(2 * sum(w) + 4 * (2 * sum(w) + 2 * (2 * sum(w) - w[0])) for w in WEIGHTS.values())


def main():
    bench = json.loads((ROOT / "book" / "measured" / "bench.json").read_text())
    times = {(b["group"], b["name"]): b["median_ns"] for b in bench["benchmarks"]}
    works = {(b["group"], b["name"]): b.get("work") for b in bench["benchmarks"]}
    iteration = times["ppo.iteration", "rollout and learning"]
    peak = works["fma-peak", "avx512"]["amount"] / times["fma-peak", "avx512"]
    learning = [
        ("rollout: acting, stepping, values", 1, times["ppo.iteration", "rollout"]),
        ("networks, forward and backward", GRADIENT_STEPS * NETWORKS, times["nn.mlp", "forward and backward/128"]),
        ("loss and its gradient", GRADIENT_STEPS, times["ppo.total-loss", "128"]),
        ("Adam", GRADIENT_STEPS, times["opt.first-order", "adam"]),
        ("gradient norm", GRADIENT_STEPS, times["opt.first-order", "clip_global_norm"]),
    ]
    rest = iteration - sum(n * t for _, n, t in learning)
    reached = STEPS * FLOP / iteration
    product = works["nn.product", "128x64x64"]["amount"] / times["nn.product", "128x64x64"]
    lines = [
        f"One PPO iteration on `CartPole-v1` with CleanRL's settings takes {iteration / 1e3:.0f} us for {STEPS} steps, "
        f"{STEPS / iteration * 1e6:.0f} thousand steps per second. Its matrix products alone are {FLOP / 1e3:.0f} kflop per "
        f"step, so it runs at {reached:.0f} Gflop/s, {100 * reached / peak:.0f}% of the {peak:.0f} Gflop/s that independent "
        f"fused multiply-adds reach in the same run; the 128 x 64 x 64 product on its own reaches {100 * product / peak:.0f}%.",
        "",
        "| Part | Calls | Each, us | Share |",
        "|---|--:|--:|--:|",
        *(f"| {name} | {n} | {t / 1e3:.2f} | {100 * n * t / iteration:.0f}% |" for name, n, t in learning),
        f"| gathering minibatches, action distribution, advantages, the rest | | | {100 * rest / iteration:.0f}% |",
        "",
        f"From the benchmarks of {bench['date']} on {bench['machine']}, by `python3 benches/budget.py`.",
        "",
    ]
    (ROOT / "book" / "measured" / "budget.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
