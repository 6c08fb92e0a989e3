#!/usr/bin/env python3
"""Solves processes with every method, and writes how much work each took into the book and the README.

    python3 benches/solvers.py [--threads 1]

Work is counted in sweeps: transitions read, divided by how many the process has. A method that takes too long on a process
is stopped and shown as such. Writes solvers.json and solvers.md.
"""

import argparse
import datetime
import json
import pathlib
import subprocess
import sys

from returns import ROOT, insert, machine

MEASURED = ROOT / "book" / "measured"
METHODS = ["vi", "gs", "mpi", "ipi"]
# The process, its discount and the tolerance: a Bellman error of 1e-6.
CASES = [
    ("random:100000x8x8", 0.99),
    ("random:1000000x4x4", 0.99),
    ("lake:300x300", 0.99),
    ("hill:300x300", 0.99),
    ("random:100000x8x8", 0.9999),
    ("lake:300x300", 0.9999),
    ("hill:300x300", 0.9999),
    ("cycle:100000x8x8", 0.9999),
]
# What 10,000,000 states take: this once, with the default method and two threads.
LARGE = ("random:10000000x4x4", 0.99)


def solve(binary, source, gamma, method, threads, timeout):
    """The report of one solution without its values, or why there is none."""
    tol = 1e-6 / (1 - gamma)
    command = [binary, "solve", source, "--gamma", str(gamma), "--tol", f"{tol:g}", "--method", method, "--threads",
               str(threads), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        text, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"timeout": timeout}
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed with exit code {process.returncode}")
    # The values come last; a hundred megabytes of them say nothing here.
    return json.loads(text[: text.index('"v":')].rstrip().rstrip(",") + "}")


def peak_memory_gb(binary, source, gamma, threads):
    """The largest resident set of a solution, and the report's seconds."""
    command = [binary, "solve", source, "--gamma", str(gamma), "--tol", "1e-4", "--threads", str(threads)]
    code = ("import resource, subprocess, sys, time; start = time.perf_counter(); "
            "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9, time.perf_counter() - start)")
    out = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True).stdout
    return [float(x) for x in out.split()]


def cell(report):
    if "timeout" in report:
        return f"more than {report['timeout']:.0f} s"
    return f"{report['sweeps']:,.4g} ({report['wall_seconds']:.3g} s)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="limit of one solution")
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "-p", "rederive"], cwd=ROOT, check=True)
    target = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True,
                            capture_output=True, text=True).stdout
    binary = str(pathlib.Path(json.loads(target)["target_directory"]) / "release" / "rederive")
    lines = [
        "Work in sweeps over the whole process (and seconds) until every value is proven to be within "
        "$10^{-6} / (1 - \\gamma)$ of the optimum.",
        "",
        "| Process | $\\gamma$ | value iteration | Gauss-Seidel | modified policy iteration | inexact policy iteration |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    rows = []
    for source, gamma in CASES:
        reports = {method: solve(binary, source, gamma, method, args.threads, args.timeout) for method in METHODS}
        rows.append({"source": source, "gamma": gamma, "reports": reports})
        lines.append(f"| `{source}` | {gamma} | " + " | ".join(cell(reports[method]) for method in METHODS) + " |")
        print(lines[-1], flush=True)
    memory, seconds = peak_memory_gb(binary, *LARGE, 2)
    lines += ["", f"`{LARGE[0]}` at $\\gamma = {LARGE[1]}$, generated and solved to $10^{{-4}}$ on two threads: {seconds:.1f} s "
              f"in all, {memory:.2f} GB at the peak."]
    lines += ["", f"Measured on {datetime.date.today().isoformat()} on {machine()}, {args.threads} thread"
              f"{'s' if args.threads > 1 else ''}, by `python3 benches/solvers.py`.", ""]
    text = "\n".join(lines)
    (MEASURED / "solvers.json").write_text(json.dumps({"rows": rows, "large": {"gb": memory, "seconds": seconds}}, indent=1) + "\n")
    (MEASURED / "solvers.md").write_text(text)
    insert(ROOT / "README.md", "solvers", text)


if __name__ == "__main__":
    main()
