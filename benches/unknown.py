#!/usr/bin/env python3
"""Whether time tells that a tenant, a token or a key exists: what is refused is asked in two ways, in turn.

    benches/unknown.py target/release/annals [requests of each way]

Starts `annals serve` on a store of its own. For each pair prints the medians in microseconds and how often the second way took
longer than the first: 0.5 where time tells nothing, with four standard errors of that beside it. Ends with 1 where a pair
lies outside of them and its medians differ by more than a microsecond, less than which no network shows.
"""

import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BODY = b"{" + b" " * 2_000


def refused(stream, request, status):
    started = time.perf_counter_ns()
    stream.sendall(request)
    reply = stream.recv(1 << 16)
    took = time.perf_counter_ns() - started
    assert reply.split(b" ", 2)[1] == status, reply[:200]
    return took


def get(*headers):
    return ("\r\n".join(["GET /api/v1/query?query=1 HTTP/1.1", "Host: a", *headers]) + "\r\n\r\n").encode()


def signed(key):
    fields = f"key={key},time={int(time.time())},nonce={'5' * 32},signature={'0' * 64}"
    head = f"POST /v1/signals HTTP/1.1\r\nHost: a\r\nAuthorization: annals1 {fields}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return head.encode() + BODY


def later(first, second):
    """How often a time of the second list is greater than one of the first, ties counted half."""
    ranked = sorted([(time, 0) for time in first] + [(time, 1) for time in second])
    ranks, at = 0.0, 0
    while at < len(ranked):
        end = at
        while end < len(ranked) and ranked[end][0] == ranked[at][0]:
            end += 1
        ranks += sum(way for _, way in ranked[at:end]) * (at + end + 1) / 2
        at = end
    return (ranks - len(second) * (len(second) + 1) / 2) / (len(first) * len(second))


def main():
    annals, times = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    with tempfile.TemporaryDirectory() as store:
        run = lambda *words: subprocess.run([annals, *words, "--data", store], check=True, capture_output=True, text=True).stdout
        for tenant in ["acme", "other"]:
            run("tenant", "create", tenant, "--plan", "archive")
        bearer = lambda *grant: f"Authorization: Bearer {run('token', 'create', *grant).strip()}"
        viewer, report = bearer("--tenant", "acme", "--role", "viewer"), bearer("--tenant", "acme", "--role", "report")
        operator, why = bearer("--operator", "anna"), "X-Annals-Reason: a look"
        key = run("site", "create", "--tenant", "acme", "--site", "shop").split()[1]
        wrong = viewer[:-1] + ("0" if viewer[-1] != "0" else "1")
        place = viewer.rindex("_") - 1
        nobody = wrong[:place] + ("0" if wrong[place] != "0" else "1") + wrong[place + 1 :]
        of = lambda name: f"X-Annals-Tenant: {name}"
        pairs = [
            ("another tenant / none of that name, of a viewer", b"403", get(viewer, of("other")), get(viewer, of("nobody"))),
            ("its own tenant / none of that name, of a token for reports", b"403", get(report, of("acme")), get(report, of("nobody"))),
            ("a token with a wrong secret / a token that is not there", b"401", get(wrong), get(nobody)),
            ("a key with a wrong signature / a key that is not there", b"401", signed(key), signed("0" * 32)),
        ]
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        with open(os.path.join(store, "annals.toml"), "w") as config:
            config.write('log = "off"\n[tenant]\nrequests_per_second = 1_000_000\n')
        listen = ["--listen", f"127.0.0.1:{port}", "--config", os.path.join(store, "annals.toml")]
        server = subprocess.Popen([annals, "serve", "--data", store, *listen], stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                try:
                    stream = socket.create_connection(("127.0.0.1", port))
                    break
                except OSError:
                    time.sleep(0.1)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            told = False
            for name, status, first, second in pairs:
                took = ([], [])
                for _ in range(times):
                    for way in random.sample([0, 1], 2):
                        took[way].append(refused(stream, [first, second][way], status))
                often, margin = later(*took), 4 * (1 / 6 / times) ** 0.5
                medians = [statistics.median(own) / 1e3 for own in took]
                told |= abs(often - 0.5) > margin and abs(medians[0] - medians[1]) > 1
                print(f"unknown: {name}: {medians[0]:.2f} / {medians[1]:.2f} us, the second longer in {often:.3f} (0.5 +- {margin:.3f})")
        finally:
            server.terminate()
            server.wait()
    sys.exit(1 if told else 0)


main()
