#!/usr/bin/env python3
"""Trains the tuned configurations of DQN, REINFORCE, A2C and TRPO with several seeds, evaluates the agents, and writes the tables
of the book and the README.

    python3 benches/deep_returns.py [--seeds 5] [--only ALGO[/ENV],...] [--minatar] [--out book/measured]

Each agent plays 100 episodes with its best action; the table shows the mean over the seeds with its 95% Student-t
interval, beside a random policy and, where there is one, a control that has to fail. `--minatar` trains DQN on MinAtar
instead, which takes hours: runs that are already there with the same configuration are kept, those that were cut off go on.
Rows that are left out keep what they had (`--only none` just writes the tables again). Writes
deep-returns.json, deep-returns.md and its part for each chapter. The runs stay in runs/deep-returns.
"""

import argparse
import csv
import datetime
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor

from returns import ROOT, T, build, evaluate, insert, interval, machine, rederive, train_and_evaluate

FOLDER = ROOT / "runs" / "deep-returns"
# RL Zoo's single tuned runs (github.com/DLR-RM/rl-baselines3-zoo, benchmark.md, and its pages on sb3-contrib), for the same
# numbers of steps. A2C's MountainCarContinuous and DQN's figures are from there, too; REINFORCE is not in it.
REFERENCES = {
    ("dqn", "CartPole-v1"): 500.0,
    ("dqn", "Acrobot-v1"): -76.6,
    ("dqn", "MountainCar-v0"): -100.8,
    ("reinforce", "CartPole-v1"): None,
    ("a2c", "CartPole-v1"): 500.0,
    ("a2c", "Acrobot-v1"): -83.4,
    ("a2c", "MountainCarContinuous-v0"): 91.2,
    ("a2c", "Pendulum-v1"): -163.0,
    ("trpo", "CartPole-v1"): 500.0,
    ("trpo", "Acrobot-v1"): -83.1,
    ("trpo", "MountainCar-v0"): -107.3,
    ("trpo", "MountainCarContinuous-v0"): 92.5,
    ("trpo", "Pendulum-v1"): -174.6,
}
# What has to fail: the run with one field changed.
CONTROLS = {
    ("dqn", "CartPole-v1"): "lr=1e-9",
    ("reinforce", "CartPole-v1"): "lr=1e-9",
    ("a2c", "CartPole-v1"): "lr=1e-9",
    ("a2c", "MountainCarContinuous-v0"): "lr=1e-9",
    ("trpo", "CartPole-v1"): "target_kl=1e-9",
    ("trpo", "MountainCarContinuous-v0"): "noise_correlation=0",
}
# The mean training return of the last 100 episodes after 2 million frames, read off the learning curves that Young and Tian
# publish with MinAtar (30 runs each, "learning_curves" in github.com/kenjyoung/MinAtar), to about 3%.
MINATAR = {
    "MinAtar/Breakout-v1": 9.6,
    "MinAtar/Freeway-v1": 50.8,
    "MinAtar/Asterix-v1": 14.2,
    "MinAtar/Seaquest-v1": 5.0,
    "MinAtar/SpaceInvaders-v1": 41.0,
}


# What each chapter of the book shows.
CHAPTERS = {"dqn": ("dqn",), "policy-gradient": ("reinforce", "a2c"), "natural-gradient": ("trpo",)}


def divergence(run):
    """The largest true divergence of an update as a share of its radius, over a run of TRPO."""
    folder = ROOT / run["run_dir"]
    radius = tomllib.loads((folder / "config.toml").read_text())["config"]["target_kl"]
    with open(folder / "metrics.csv") as file:
        return max(float(row["kl"]) / radius for row in csv.DictReader(file) if row["kl"])


def measure(binary, algo, env, seeds):
    """One row of the first table."""
    name = f"{algo}-{env}"
    runs, scores = train_and_evaluate(binary, env, FOLDER / name, seeds, algo=algo)
    mean, half = interval(scores)
    row = {
        "algo": algo,
        "env": env,
        "steps": runs[0]["steps"],
        "scores": scores,
        "mean": mean,
        "interval": half,
        "random": rederive(binary, "eval", runs[0]["run_dir"], "--random", "--episodes", "100")["return_mean"],
        "reference": REFERENCES[algo, env],
        "wall_seconds": statistics.fmean(run["wall_seconds"] for run in runs),
    }
    if algo == "trpo":
        row["largest_kl_share"] = max(divergence(run) for run in runs)
    if setting := CONTROLS.get((algo, env)):
        _, control = train_and_evaluate(binary, env, FOLDER / f"{name}-control", seeds, "--set", setting, algo=algo)
        row["control"] = dict(zip(("mean", "interval"), interval(control)), setting=setting)
    print(f"{algo} {env}: {mean:.1f} ± {half:.1f}, random {row['random']:.1f}", file=sys.stderr)
    return row


def train_or_go_on(binary, algo, env, seed, folder):
    """The summary of a run of hours: one that is there with the same configuration is kept or, if it was cut off, gone on with."""
    wanted = subprocess.run(
        [binary, "train", algo, env, "--seed", str(seed), "--print-config"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    config, summary = folder / "config.toml", folder / "summary.json"
    if not config.exists() or tomllib.loads(config.read_text()) != tomllib.loads(wanted):
        shutil.rmtree(folder, ignore_errors=True)
        rederive(binary, "train", algo, env, "--seed", str(seed), "--threads", "1", "--out", str(folder))
    elif not summary.exists():
        rederive(binary, "train", "--resume", str(folder), "--threads", "1")
    return {**json.loads(summary.read_text()), "run_dir": str(folder)}


def measure_minatar(binary, env, seeds):
    """One row of the second table; as many runs at a time as there are cores."""
    folder = FOLDER / f"dqn-{env.replace('/', '-')}"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(
            pool.map(lambda seed: train_or_go_on(binary, "dqn", env, seed, folder / f"seed{seed}"), range(1, seeds + 1))
        )
    scores = evaluate(binary, runs)
    training = [run["final_return_mean"] for run in runs]
    row = {
        "algo": "dqn",
        "env": env,
        "steps": runs[0]["steps"],
        "training": training,
        "scores": scores,
        "mean": interval(scores)[0],
        "interval": interval(scores)[1],
        "random": rederive(binary, "eval", runs[0]["run_dir"], "--random", "--episodes", "100")["return_mean"],
        "reference": MINATAR[env],
        "wall_seconds": statistics.fmean(run["wall_seconds"] for run in runs),
    }
    print(f"{env}: {statistics.fmean(training):.1f} while training, {row['mean']:.1f} evaluated", file=sys.stderr)
    return row


def spread(row, field="scores"):
    mean, half = interval(row[field])
    return f"{mean:.1f} ± {half:.1f}" if len(row[field]) > 1 else f"{mean:.1f}"


def markdown(rows):
    seeds = {len(row["scores"]) for row in rows if row["env"] not in MINATAR}
    lines = [
        "Mean return over 100 episodes of the deterministic policy, over "
        f"{' or '.join(map(str, sorted(seeds)))} seeds with the 95% interval of that mean. *Reference*: the single tuned runs of "
        "RL Zoo (Stable-Baselines3 and sb3-contrib) at the same number of steps. *Control*: the same training with one field "
        "changed, which has to fail.",
        "",
        "| Algorithm | Environment | Steps | rederive | Reference | Random policy | Control |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for row in (row for row in rows if row["env"] not in MINATAR):
        control = row.get("control")
        shown = f"{control['mean']:.1f} ± {control['interval']:.1f} with `{control['setting']}`" if control else ""
        reference = "" if row["reference"] is None else f"{row['reference']:.1f}"
        lines.append(
            f"| {row['algo']} | `{row['env']}` | {row['steps']:,} | {spread(row)} | {reference} | {row['random']:.1f} | {shown} |"
        )
    shares = [row["largest_kl_share"] for row in rows if "largest_kl_share" in row]
    if shares:
        lines += ["", f"No update of TRPO's runs went further than {max(shares):.3f} times its radius in true mean divergence."]
    games = [row for row in rows if row["env"] in MINATAR]
    if games:
        lines += [
            "",
            "DQN on MinAtar. *Training*: mean return of the last 100 training episodes, exploration included, with the 95% "
            "interval over the seeds; *paper*: the same, read off the learning curves of Young and Tian (2019) at as many frames. "
            "*Evaluated*: 100 episodes of the best action.",
            "",
            "| Game | Frames | Seeds | Training | Paper | Evaluated | Random policy |",
            "|---|--:|--:|--:|--:|--:|--:|",
        ]
        for row in games:
            lines.append(
                f"| `{row['env']}` | {row['steps']:,} | {len(row['scores'])} | {spread(row, 'training')} | {row['reference']:.1f} "
                f"| {spread(row)} | {row['random']:.1f} |"
            )
    dates = sorted({row["date"] for row in rows})
    lines += [
        "",
        f"Measured {'on ' + dates[0] if len(dates) == 1 else 'from ' + dates[0] + ' to ' + dates[-1]} on {machine()} by "
        "`python3 benches/deep_returns.py` and, for MinAtar, `--minatar`.",
        "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=[1, *sorted(n + 1 for n in T)])
    parser.add_argument("--only", default="", metavar="A,B", help="rows whose ALGO/ENV contains one of these")
    parser.add_argument("--minatar", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "book" / "measured")
    args = parser.parse_args()

    wanted = [part for part in args.only.split(",") if part]
    jobs = [("dqn", env) for env in MINATAR] if args.minatar else list(REFERENCES)
    jobs = [(algo, env) for algo, env in jobs if not wanted or any(part in f"{algo}/{env}" for part in wanted)]
    order = [*REFERENCES, *(("dqn", env) for env in MINATAR)]
    out = args.out / "deep-returns.json"
    args.out.mkdir(parents=True, exist_ok=True)

    binary = build() if jobs else None
    for algo, env in jobs:
        row = measure_minatar(binary, env, args.seeds) if args.minatar else measure(binary, algo, env, args.seeds)
        # After every row, so that what took hours is not lost; read again, as another part may have run in the meantime.
        rows = {(row["algo"], row["env"]): row for row in json.loads(out.read_text())["rows"]} if out.exists() else {}
        rows[algo, env] = {**row, "date": datetime.date.today().isoformat()}
        kept = [rows[key] for key in order if key in rows]
        out.write_text(json.dumps({"machine": machine(), "rows": kept}, indent=1) + "\n")
    rows = json.loads(out.read_text())["rows"]
    table = markdown(rows)
    (args.out / "deep-returns.md").write_text(table)
    insert(ROOT / "README.md", "deep-returns", table)
    for chapter, algos in CHAPTERS.items():
        part = markdown([row for row in rows if row["algo"] in algos])
        (args.out / f"deep-returns-{chapter}.md").write_text(part)


if __name__ == "__main__":
    main()
