#!/usr/bin/env python3
"""Runs the comparisons of peers/compare.py one after the other and writes their tables into the book and the README.

    python3 benches/speed.py [--repeat 3] [other arguments of compare.py]

Nothing else should run on the machine. Writes speed-JOB.json and speed.md.
"""

import datetime
import json
import pathlib
import subprocess
import sys

from returns import ROOT, insert, machine

MEASURED = ROOT / "book" / "measured"
JOBS = {
    "ppo": "PPO on `CartPole-v1`, 500,000 steps with CleanRL's hyper-parameters, everything included: environments, "
    "inference, learning, logging. One thread.",
    "env": "Stepping `CartPole-v1` with random actions, resets included. One thread.",
    "gae": "Advantages and returns of `[T, N]` rollouts, `f32`, with both masks. One thread.",
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
        yield f"| {title} | {speed:,.0f} | {ratio} | {memory} |"
    for name, reason in document["missing"].items():
        yield f"| {document['titles'][name]} | missing: {reason} | | |"


def main():
    parts = []
    for job, meaning in JOBS.items():
        out = MEASURED / f"speed-{job}.json"
        command = [sys.executable, "benches/peers/compare.py", "--job", job, "--out", str(out), *sys.argv[1:]]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            sys.exit(f"the comparison {job} failed")
        document = json.loads(out.read_text())
        # The rounds hold paths and whole reports; the summary is what the tables show.
        document.pop("rounds")
        out.write_text(json.dumps(document, indent=1) + "\n")
        parts += [
            meaning,
            "",
            "| Contender | Steps per second, median | rederive is x times as fast (range) | Peak MB |",
            "|---|--:|--:|--:|",
            *rows(document),
            "",
        ]
    today = datetime.date.today().isoformat()
    parts += [f"Measured in one run on {today} on {machine()} by `python3 benches/speed.py`.", ""]
    text = "\n".join(parts)
    (MEASURED / "speed.md").write_text(text)
    insert(ROOT / "README.md", "speed", text)


if __name__ == "__main__":
    main()
