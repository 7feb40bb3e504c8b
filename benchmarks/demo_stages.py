"""Seconds of the demo by stage, as the person in it waits for them.

    python -m benchmarks.demo_stages

Runs `likeness demo` as it ships, alone on the machine, and writes what it measured of itself; beside it the
largest memory that each of its processes held. Goal: all of it in under 360 s on 2 cores.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

RESULTS = Path(__file__).parent / "results" / "demo_stages.md"


def part(words: list[str]) -> str:
    """Which part of Likeness a command line is."""
    if any("valkey-server" in word for word in words[:1]):
        return "redis"
    return {"engine": "engine", "worker": "worker"}.get(words[2] if len(words) > 2 else "", "chat")


def watch(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """MiB at most, by part, until the demo ends."""
    peaks: dict[str, float] = {}
    top = psutil.Process(process.pid)
    while process.poll() is None:
        for each in [top, *top.children(recursive=True)]:
            try:
                name, mib = part(each.cmdline()), each.memory_info().rss / 2**20
            except psutil.Error:
                continue
            peaks[name] = max(peaks.get(name, 0.0), mib)
        time.sleep(0.5)
    return peaks


def main() -> None:
    """Run it and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        with subprocess.Popen([sys.executable, "-m", "bot", "demo", "--out", folder]) as process:
            peaks = watch(process)
        whole = time.monotonic() - begun
        if process.returncode != 0:
            sys.exit("the demo failed")
        stages = json.loads((Path(folder) / "stages.json").read_text())
    lines = ["| stage | seconds |", "|---|---|"]
    lines += [f"| {name} | {seconds:.1f} |" for name, seconds in stages.items()]
    lines += [
        f"| from the command to the prompt | {whole:.1f} |",
        "",
        "| process | MiB at most |",
        "|---|---|",
    ]
    lines += [f"| {name} | {mib:.0f} |" for name, mib in sorted(peaks.items())]
    head = [
        "# The demo by stage",
        "",
        f"`likeness demo` with its own 15 selfies, {os.cpu_count()} cores, no GPU,",
        f"Python {platform.python_version()}.",
        "Goal: under 360 s. Run again: `python -m benchmarks.demo_stages`.",
        "",
    ]
    RESULTS.write_text("\n".join([*head, *lines]) + "\n")


if __name__ == "__main__":
    main()
