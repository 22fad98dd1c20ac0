#!/usr/bin/env python3
"""How long `annals query` takes until its first byte, on a store of 1,000 blocks, process start included.

    benches/first_byte.py target/release/annals

Makes a store of 500 days of 300 series in a directory of its own, sealed, so that each day has a block of raw metrics and one of
rollups; asks each question 31 times. Prints medians in milliseconds; 20 is the figure to reach.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

DAYS, SERIES, FIRST, RUNS = 500, 300, 1_700_000_000, 31
LAST = str(FIRST + (DAYS - 1) * 86_400)


def first_byte_ms(command, directory):
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    first = os.read(process.stdout.fileno(), 1)
    took = time.perf_counter() - started
    process.stdout.read()
    assert process.wait() == 0 and first, command
    return took * 1e3


def main():
    annals = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "cpu.lp"), "w") as lines:
            for day in range(DAYS):
                stamp = FIRST + day * 86_400
                lines.writelines(f"cpu,host=h{host} value={(day * 7 + host) % 100} {stamp}\n" for host in range(SERIES))
        run = lambda *arguments: subprocess.run([annals, *arguments], cwd=directory, check=True, capture_output=True)
        run("import", "--tenant", "acme", "--site", "www", "--format", "influx", "--precision", "s", "--create", "archive",
            "cpu.lp")
        run("compact")
        blocks = len(os.listdir(os.path.join(directory, "annals-data", "t", "1", "b")))
        questions = {
            "nothing, `--version`": ["--version"],
            "one series, one instant": ["query", 'cpu_value{host="h7"}', "--at", LAST],
            "all series added up": ["query", "sum(cpu_value)", "--at", LAST],
            "one series over all days": ["query", f'count_over_time(cpu_value{{host="h7"}}[{DAYS}d])', "--at", LAST],
        }
        for name, arguments in questions.items():
            times = sorted(first_byte_ms([annals, *arguments], directory) for _ in range(RUNS))
            print(f"first byte: {blocks} blocks, {name}: {statistics.median(times):.1f} ms (median of {RUNS}, best "
                  f"{times[0]:.1f}, worst {times[-1]:.1f}; target 20)")


main()
