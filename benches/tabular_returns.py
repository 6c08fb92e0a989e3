#!/usr/bin/env python3
"""Trains the methods with a table with several seeds, evaluates them beside the exact optimum, and writes the tables of the
book and the README.

    python3 benches/tabular_returns.py [--seeds 5] [--out book/measured]

Each agent plays 1000 episodes (100,000 hands of Blackjack) with its best action; the table
shows the mean over the seeds with its 95% Student-t interval.
Writes tabular-returns.json and tabular-returns.md. The runs stay in runs/tabular-returns.
"""

import argparse
import datetime
import json
import pathlib
import statistics
import sys

from returns import ROOT, T, build, insert, interval, machine, rederive, train_and_evaluate

ALGORITHMS = ("q-learning", "double-q-learning", "sarsa", "expected-sarsa", "monte-carlo")
# The horizon of the exact optimum, where episodes have no time limit: long enough to change nothing.
HORIZONS = {
    "FrozenLake-v1": None,
    "FrozenLake8x8-v1": None,
    "Taxi-v3": None,
    "CliffWalking-v1": 500,
    "Blackjack-v1": 100,
    "Crawler-v0": None,
    "Corridor-v0": None,
}
# What has to fail: Q-learning with steps so small that the table stays what it was.
CONTROL = "alpha=1e-9"
CONTROLLED = ("FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v3", "CliffWalking-v1", "Crawler-v0")
# Hands of cards are short, and chance decides most of them.
EPISODES = {"Blackjack-v1": 100_000}


def measure(binary, env, folder, seeds):
    """One row: every algorithm on one environment."""
    horizon, episodes = HORIZONS[env], EPISODES.get(env, 1000)
    settings = ["--horizon", str(horizon)] if horizon else []
    optimum = rederive(binary, "solve", env, "--method", "finite", *settings)
    row = {"env": env, "optimum": optimum["start_value"], "horizon": optimum["horizon"], "algorithms": {}}
    for algo in ALGORITHMS:
        runs, scores = train_and_evaluate(binary, env, folder / f"{env}-{algo}", seeds, algo=algo, episodes=episodes)
        mean, half = interval(scores)
        row["algorithms"][algo] = {
            "steps": runs[0]["steps"],
            "scores": scores,
            "mean": mean,
            "interval": half,
            "final_return_mean": statistics.fmean(run["final_return_mean"] for run in runs),
            "wall_seconds": statistics.fmean(run["wall_seconds"] for run in runs),
        }
        print(f"{env}, {algo}: {mean:.3f} ± {half:.3f} of {optimum['start_value']:.3f}", file=sys.stderr)
    # Any agent will do: its actions are not asked for.
    row["random"] = rederive(binary, "eval", runs[0]["run_dir"], "--random", "--episodes", str(episodes))["return_mean"]
    if env in CONTROLLED:
        _, scores = train_and_evaluate(
            binary, env, folder / f"{env}-control", seeds, "--set", CONTROL, algo="q-learning", episodes=episodes
        )
        row["control"] = dict(zip(("mean", "interval"), interval(scores)), setting=CONTROL)
    return row


def short(x, like=None):
    """Three digits or so, to the same place as `like`."""
    size = abs(x if like is None else like)
    return f"{x:,.{3 if size < 1 else 2 if size < 100 else 0}f}"


def with_interval(measured):
    return f"{short(measured['mean'])} ± {short(measured['interval'], measured['mean'])}"


def markdown(result, seeds):
    lines = [
        "Mean return over 1000 episodes (100,000 hands of Blackjack) of the table's best actions, over "
        f"{seeds} seeds with the 95% interval of that mean, after the steps of the tuned presets. *Optimum*: the exact value of the start by backward induction, "
        "undiscounted, with the environment's time limit; the best that any policy can do, also one that watches the "
        f"clock. *Control*: Q-learning with `{CONTROL}`, which has to fail.",
        "",
        f"| Environment | {' | '.join(ALGORITHMS)} | Optimum | Random policy | Control |",
        f"|---|{'--:|' * (len(ALGORITHMS) + 3)}",
    ]
    for row in result["rows"]:
        measured = " | ".join(with_interval(row["algorithms"][algo]) for algo in ALGORITHMS)
        control = with_interval(row["control"]) if "control" in row else ""
        lines.append(
            f"| `{row['env']}` | {measured} | {short(row['optimum'])} | {short(row['random'])} | {control} |"
        )
    q_learning = [row["algorithms"]["q-learning"] for row in result["rows"]]
    steps, seconds = (sum(q[field] for q in q_learning) for field in ("steps", "wall_seconds"))
    corridor = next(row for row in result["rows"] if row["env"] == "Corridor-v0")["algorithms"]["sarsa"]
    lines += [
        "",
        "SARSA keeps away from the cliff because it learns the value of a policy that explores, and walks 15 or 17 steps. "
        "In `Corridor-v0` two cells look the same, so that the best action of an observation is stuck in one of them; the "
        f"policies that the runs learn with, softmax, reach the end in {100 * corridor['final_return_mean']:.0f}% of the last "
        f"episodes. One run of Q-learning on all these environments takes {steps / 1e6:.0f} million steps and "
        f"{seconds:.1f} s.",
        "",
        f"Measured on {result['date']} on {result['machine']} by `python3 benches/tabular_returns.py`.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=sorted(n + 1 for n in T))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "book" / "measured")
    args = parser.parse_args()

    binary = build()
    rows = [measure(binary, env, ROOT / "runs" / "tabular-returns", args.seeds) for env in HORIZONS]
    result = {"machine": machine(), "date": datetime.date.today().isoformat(), "rows": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "tabular-returns.json").write_text(json.dumps(result, indent=1) + "\n")
    table = markdown(result, args.seeds)
    (args.out / "tabular-returns.md").write_text(table)
    insert(ROOT / "README.md", "tabular-returns", table)


if __name__ == "__main__":
    main()
