#!/usr/bin/env python3
"""Runs the comparisons of peers/compare.py one after the other and writes their tables into the book and the README.

    python3 benches/speed.py [--jobs ppo,dqn,trpo,env,gae,conv,dp,q] [--repeat 3] [other arguments of compare.py]

Nothing else should run on the machine. Writes speed-JOB.json and speed.md. Jobs that are left out keep the tables that they
had, with their dates.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys

from returns import ROOT, insert, machine

MEASURED = ROOT / "book" / "measured"
STEPS = "Steps per second"
# What is done, and what the speed counts.
JOBS = {
    "ppo": ("PPO on `CartPole-v1`, 500,000 steps with CleanRL's hyper-parameters, everything included: environments, "
    "inference, learning, logging. One thread.", STEPS),
    "dqn": ("DQN on `CartPole-v1`, 500,000 steps with CleanRL's hyper-parameters, everything included. One thread.", STEPS),
    "trpo": ("TRPO on `CartPole-v1`, 100,000 steps with sb3-contrib's defaults, everything included. One thread.", STEPS),
    "env": ("Stepping `CartPole-v1` with random actions, resets included. One thread.", STEPS),
    "gae": ("Advantages and returns of `[T, N]` rollouts, `f32`, with both masks. One thread.", STEPS),
    "conv": ("A convolution over MinAtar's images (16 channels of 3 x 3), and a network of one with a dense layer of 128 units: forward "
             "and backward for batches of 32, `f32`. One thread.", "Images per second"),
    "dp": ("Finite processes solved until every value is proven to be within 1e-4 of the optimum, at a discount of 0.99, where "
           "that is a Bellman error of 1e-6. One thread; setting up is not counted.", "Solved per second"),
    "q": ("Tabular Q-learning with one environment, updates included. One thread.", STEPS),
}


def rows(document):
    """One Markdown row per contender and case."""
    cases = {row["case"] for row in document["summary"]}
    for row in document["summary"]:
        title = document["titles"][row["name"]]
        if len(cases) > 1:
            title += f", {row['case']}"
        speed = row["items_per_second"]["median"]
        ratio = row.get("rederive_is_times_faster")
        ratio = f"{ratio['median']:.3g} ({ratio['min']:.3g} to {ratio['max']:.3g})" if ratio else ""
        memory = row.get("peak_memory_mb")
        memory = f"{memory['median']:.0f}" if memory else ""
        speed = f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"
        yield f"| {title} | {speed} | {ratio} | {memory} |"
    for name, reason in document["missing"].items():
        yield f"| {document['titles'][name]} | missing: {reason} | | |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--jobs", default=",".join(JOBS), metavar="A,B", help="which to run (default: all)")
    args, others = parser.parse_known_args()
    wanted = args.jobs.split(",")
    if unknown := set(wanted) - set(JOBS):
        parser.error(f"--jobs {','.join(sorted(unknown))}: must be among {', '.join(JOBS)}")
    parts = []
    today = datetime.date.today().isoformat()
    for job, (meaning, unit) in JOBS.items():
        out = MEASURED / f"speed-{job}.json"
        if job in wanted:
            command = [sys.executable, "benches/peers/compare.py", "--job", job, "--out", str(out), *others]
            if subprocess.run(command, cwd=ROOT).returncode != 0:
                sys.exit(f"the comparison {job} failed")
            document = json.loads(out.read_text())
            # The rounds hold paths and whole reports; the summary is what the tables show.
            document.pop("rounds")
            document["date"] = today
            out.write_text(json.dumps(document, indent=1) + "\n")
        elif not out.exists():
            continue
        document = json.loads(out.read_text())
        parts += [
            meaning,
            "",
            f"| Contender | {unit}, median | rederive is x times as fast (range) | Peak MB |",
            "|---|--:|--:|--:|",
            *rows(document),
            "",
            f"Measured on {document['date']}, {document['repeat']} round{'s' if document['repeat'] > 1 else ''}.",
            "",
        ]
    parts += [f"All contenders of a table in one run, on {machine()}, by `python3 benches/speed.py`.", ""]
    text = "\n".join(parts)
    (MEASURED / "speed.md").write_text(text)
    insert(ROOT / "README.md", "speed", text)


if __name__ == "__main__":
    main()
