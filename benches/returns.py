#!/usr/bin/env python3
"""Trains every tuned PPO configuration with several seeds, evaluates the agents, and writes the tables of the book and the README.

    python3 benches/returns.py [--seeds 5] [--only ENV] [--out book/measured]

Each agent plays 100 episodes with its most likely action; the table shows the mean over the seeds with its 95% Student-t
interval, beside a random policy and, where there is one, a control that has to fail. Writes returns.json, returns.md and
the learning curve of CartPole. The runs stay in runs/returns.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# RL Zoo's single tuned runs (github.com/DLR-RM/rl-baselines3-zoo, benchmark.md), for the same numbers of steps.
REFERENCES = {
    "CartPole-v1": 500.0,
    "Acrobot-v1": -73.5,
    "MountainCar-v0": -110.4,
    "MountainCarContinuous-v0": 88.3,
    "Pendulum-v1": -172.2,
}
# What has to fail, and why: the run with one field changed.
CONTROLS = {
    "CartPole-v1": ("lr=1e-9", "weights that stay where they started"),
    "MountainCarContinuous-v0": ("noise_correlation=0", "independent exploration noise"),
}
# 97.5% quantiles of Student's t by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 14: 2.145, 19: 2.093}


def build():
    """The command, compiled."""
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "rederive"], cwd=ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "release" / "rederive")


def rederive(binary, *args):
    run = subprocess.run([binary, *args, "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(f"rederive {' '.join(args)} failed with exit code {run.returncode}")
    return json.loads(run.stdout)


def interval(values):
    """Mean and half-width of its 95% interval."""
    n = len(values)
    half = T[n - 1] * statistics.stdev(values) / math.sqrt(n) if n > 1 else float("nan")
    return statistics.fmean(values), half


def train_and_evaluate(binary, env, folder, seeds, *settings, algo="ppo", episodes=100):
    """Trains `seeds` agents and returns the summaries and each one's mean return over so many episodes."""
    shutil.rmtree(folder, ignore_errors=True)
    runs = rederive(binary, "train", algo, env, "--seeds", str(seeds), "--out", str(folder), *settings)
    return runs, evaluate(binary, runs, episodes)


def evaluate(binary, runs, episodes=100):
    """Each agent's mean return over so many episodes."""
    return [
        rederive(binary, "eval", run["run_dir"], "--episodes", str(episodes), "--seed", str(1000 + run["seed"]))["return_mean"]
        for run in runs
    ]


def process_figures(binary):
    """Time to the first line of progress, and the peak memory of a whole run with CleanRL's settings."""
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "train", "ppo", "CartPole-v1", "--preset", "cleanrl", "--threads", "1", "--out", f"{folder}/run"]
        begun = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        process.stderr.readline()
        first_line = time.monotonic() - begun
        process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit("the run with CleanRL's settings failed")
    return {"first_line_ms": first_line * 1e3, "peak_memory_mb": usage.ru_maxrss * 1024 / 1e6}


def machine():
    try:
        names = [l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")]
        return f"{names[0]}, {len(names)} cores"
    except (OSError, IndexError):
        return f"{platform.machine()}, {os.cpu_count()} cores"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=sorted(n + 1 for n in T))
    parser.add_argument("--only", choices=sorted(REFERENCES))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "book" / "measured")
    args = parser.parse_args()

    binary = build()
    runs_folder = ROOT / "runs" / "returns"
    args.out.mkdir(parents=True, exist_ok=True)

    rows = []
    for env in [args.only] if args.only else REFERENCES:
        runs, scores = train_and_evaluate(binary, env, runs_folder / env, args.seeds)
        mean, half = interval(scores)
        random = rederive(binary, "eval", runs[0]["run_dir"], "--random", "--episodes", "100")["return_mean"]
        row = {
            "env": env,
            "steps": runs[0]["steps"],
            "scores": scores,
            "mean": mean,
            "interval": half,
            "random": random,
            "reference": REFERENCES[env],
            "wall_seconds": statistics.fmean(run["wall_seconds"] for run in runs),
        }
        if env in CONTROLS:
            setting, meaning = CONTROLS[env]
            _, control = train_and_evaluate(
                binary, env, runs_folder / f"{env}-control", args.seeds, "--set", setting
            )
            row["control"] = dict(zip(("mean", "interval"), interval(control)), setting=setting, meaning=meaning)
        rows.append(row)
        print(f"{env}: {mean:.1f} ± {half:.1f}, random {random:.1f}", file=sys.stderr)

    cleanrl, scores = train_and_evaluate(
        binary, "CartPole-v1", runs_folder / "cleanrl", 10, "--preset", "cleanrl"
    )
    thresholds = [run["first_step_at_threshold"] for run in cleanrl]
    result = {
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "rows": rows,
        "cleanrl": {
            "final_return_mean": [run["final_return_mean"] for run in cleanrl],
            "evaluation": scores,
            "first_step_at_475": thresholds,
            "steps": cleanrl[0]["steps"],
        },
        "process": process_figures(binary),
    }
    (args.out / "returns.json").write_text(json.dumps(result, indent=1) + "\n")
    table = markdown(result, args.seeds)
    (args.out / "returns.md").write_text(table)
    if not args.only:
        insert(ROOT / "README.md", "returns", table)
    if not args.only or args.only == "CartPole-v1":
        folders = [str(f) for f in sorted((runs_folder / "CartPole-v1").iterdir()) if f.is_dir()]
        subprocess.run([binary, "plot", *folders, "--out", str(args.out / "cart-pole.svg")], cwd=ROOT, check=True)


def insert(path, name, text):
    """Replaces what stands between the two comments called `name`."""
    before, rest = path.read_text().split(f"<!-- {name} -->\n")
    after = rest.split(f"<!-- /{name} -->")[1]
    path.write_text(f"{before}<!-- {name} -->\n{text}<!-- /{name} -->{after}")


def markdown(result, seeds):
    lines = [
        f"Mean return over 100 episodes of the deterministic policy, over {seeds} seeds with the 95% interval of that mean. "
        "*Reference*: the single tuned runs of RL Zoo (Stable-Baselines3) at the same number of steps. *Control*: the same "
        "training with one field changed, which has to fail.",
        "",
        "| Environment | Steps | rederive | Reference | Random policy | Control |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in result["rows"]:
        control = row.get("control")
        shown = f"{control['mean']:.1f} ± {control['interval']:.1f} with `{control['setting']}`" if control else ""
        lines.append(
            f"| `{row['env']}` | {row['steps']:,} | {row['mean']:.1f} ± {row['interval']:.1f} | {row['reference']:.1f} "
            f"| {row['random']:.1f} | {shown} |"
        )
    cleanrl, process = result["cleanrl"], result["process"]
    reached = [s for s in cleanrl["first_step_at_475"] if s is not None]
    lines += [
        "",
        f"With `--preset cleanrl` on `CartPole-v1`, {cleanrl['steps']:,} steps and {len(cleanrl['evaluation'])} seeds: the "
        f"least mean return of the last 100 training episodes is {min(cleanrl['final_return_mean']):.1f}, the least "
        f"evaluation {min(cleanrl['evaluation']):.1f}. {len(reached)} of {len(cleanrl['first_step_at_475'])} runs reached "
        f"475, after {min(reached, default=0):,} to {max(reached, default=0):,} steps. That command prints its first line "
        f"after {process['first_line_ms']:.0f} ms and takes at most {process['peak_memory_mb']:.0f} MB of memory.",
        "",
        f"Measured on {result['date']} on {result['machine']} by `python3 benches/returns.py`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
