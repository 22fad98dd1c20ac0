#!/usr/bin/env python3
"""benches/ingest.py ANNALS LOADGEN DATA [--hours H] [--core N] [--only NAME,..]

Sends the same bodies to `annals serve` and to what people would use instead, one after another in one run, server and
client on one core, over one connection and over eight (but Prometheus, which refuses what comes late), and prints samples a
second by wall clock and by the server's CPU time, and the ratios. Then signed signals, which only Annals takes; what HTTP adds to a small query; how fast a long answer is written.
ANNALS is the command, LOADGEN the generator of the peer measurements (`gen`, `send`), DATA a directory for bodies, stores
and logs. Annals answers once its log is synced; VictoriaMetrics has no log. A peer that is not installed is SKIPPED.
"""
import argparse, gzip, hashlib, hmac, http.client, json, os, re, shutil, socket, subprocess, sys, tempfile, threading, time, urllib.parse

# What a tenant may use is set aside: it is the machine that is measured.
CONFIG = """log = "off"
[limits]
query_steps = 100_000
[tenant]
requests_per_second = 1_000_000
bytes_per_second = 100_000_000_000
"""
START_MS = 1_793_491_200_000


def cpu_seconds(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """A server with an empty store, pinned to a core, ended with the block."""

    def __init__(self, command, port, log, core):
        self.port, self.core = port, core
        self.process = subprocess.Popen(["taskset", "-c", core, *command], stdout=log, stderr=log)
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"{command[0]} does not start; its log is {log.name}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def cpu(self):
        return cpu_seconds(self.process.pid)


class Annals(Server):
    def __init__(self, args, name):
        self.program, self.store = args.annals, tempfile.mkdtemp(prefix=f"{name}-", dir=args.data)
        self.run("tenant", "create", "bench", "--plan", "archive")
        self.token = self.run("token", "create", "--tenant", "bench", "--role", "manager").strip()
        port = free_port()
        with open(f"{self.store}.toml", "w") as file:
            file.write(CONFIG)
        listen = ["--listen", f"127.0.0.1:{port}", "--config", f"{self.store}.toml"]
        with open(f"{self.store}.log", "w") as log:
            super().__init__([self.program, "serve", "--data", self.store, *listen], port, log, args.core)

    def run(self, *words):
        command = [self.program, *words, "--data", self.store]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def __exit__(self, *_):
        super().__exit__()
        shutil.rmtree(self.store)


def victoria(args):
    port, store = free_port(), tempfile.mkdtemp(prefix="victoria-", dir=args.data)
    command = ["victoria-metrics", f"-storageDataPath={store}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y"]
    return Server(["env", "GOMAXPROCS=1", *command], port, open(f"{store}.log", "w"), args.core)


def prometheus(args):
    port, store = free_port(), tempfile.mkdtemp(prefix="prometheus-", dir=args.data)
    with open(f"{store}.yml", "w") as file:
        file.write("global: {}\n")
    command = ["prometheus", f"--config.file={store}.yml", f"--storage.tsdb.path={store}", "--web.enable-remote-write-receiver",
               f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=100y"]
    return Server(["env", "GOMAXPROCS=1", *command], port, open(f"{store}.log", "w"), args.core)


def ingest(args):
    """Remote write and Influx lines, each server in turn."""
    servers = [("annals", lambda: Annals(args, "annals")), ("victoria-metrics", lambda: victoria(args)), ("prometheus", lambda: prometheus(args))]
    for form, path, connections in [("rw", "/api/v1/write", 1), ("rw", "/api/v1/write", 8), ("influx", "/influx/write", 1), ("influx", "/influx/write", 8)]:
        file = f"{args.data}/cpu-{args.hours}.{form}"
        if not os.path.exists(file):
            subprocess.run([args.loadgen, "gen", "cpu", form, file, args.hours], check=True, stdout=subprocess.DEVNULL)
        rates = {}
        for name, start in servers:
            if name != "annals" and shutil.which(name) is None:
                print(f"SKIPPED {name}: not installed")
                continue
            if name == "prometheus" and (form == "influx" or connections > 1):
                continue
            with start() as server:
                target = path if name != "annals" else f"{path}?"
                headers = f"Authorization: Bearer {server.token}" if name == "annals" else "Accept: */*"
                before = server.cpu()
                sent, took, own = post_frames(server.port, target, headers, file, form, connections)
                cpu = server.cpu() - before
            rates[name] = (sent / took, sent / cpu)
            print(f"{form:6} x{connections} {name:17} {sent} samples: {sent / took / 1e6:.2f} M/s; server alone {sent / cpu / 1e6:.2f} M per CPU second, client {own:.2f} s of {took:.2f} s")
        for name in [own for own in rates if own != "annals"]:
            wall, cpu = (mine / theirs for mine, theirs in zip(rates["annals"], rates[name]))
            print(f"{form:6} x{connections} annals / {name}: {wall:.2f} by wall clock, {cpu:.2f} by CPU time")


def post_frames(port, path, header, file, form, connections):
    """Posts every body of a file; samples, seconds, the client's CPU seconds."""
    content = ("Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0"
               if form == "rw" else "Content-Type: text/plain")
    bodies = list(frames(file))
    left, wrong = iter(bodies), []

    def post():
        stream = socket.create_connection(("127.0.0.1", port))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _, body in left:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{header}\r\n{content}\r\nContent-Length: {len(body)}\r\n\r\n"
            stream.sendall(head.encode() + body)
            reply = stream.recv(4096)
            if not reply.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200")):
                wrong.append(reply[:300])
                return

    own, started = time.process_time(), time.monotonic()
    threads = [threading.Thread(target=post) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        sys.exit(f"{path}: {wrong[0]!r}")
    return sum(samples for samples, _ in bodies), time.monotonic() - started, time.process_time() - own


def frames(path):
    """Samples and body, of a file of loadgen's."""
    with open(path, "rb") as file:
        while head := file.read(8):
            yield int.from_bytes(head[:4], "little"), file.read(int.from_bytes(head[4:], "little"))


def signals(args):
    """Signed batches of 5,000 signals, gzip and plain, as sites send them."""
    with Annals(args, "signals") as server:
        shown = server.run("site", "create", "--tenant", "bench", "--site", "shop").split()
        key, secret = shown[1], bytes.fromhex(shown[3])
        now = int(time.time() * 1000)
        time.sleep(3)  # The key must be known and the start over.
        count, per_batch = 60, 5_000
        for packed in (False, True):
            bodies = []
            for batch in range(count):
                records = [{"kind": "http.request", "timestamp": now - n, "method": "GET", "status": 200 if n % 9 else 404,
                            "route": f"/blog/{n % 50}", "duration": n % 700, "client": f"192.0.2.{n % 250}"} for n in range(per_batch)]
                body = json.dumps({"batch": os.urandom(16).hex(), "signals": records}, separators=(",", ":")).encode()
                bodies.append(gzip.compress(body, 1) if packed else body)
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            before, started = server.cpu(), time.monotonic()
            for body in bodies:
                at, nonce = int(time.time()), os.urandom(16).hex()
                text = f"annals1\nPOST\n/v1/signals\n\nbench\n{at}\n{nonce}\n{hashlib.sha256(body).hexdigest()}"
                tag = hmac.new(secret, text.encode(), "sha256").hexdigest()
                headers = {"Authorization": f"annals1 key={key},time={at},nonce={nonce},signature={tag}"}
                if packed:
                    headers["Content-Encoding"] = "gzip"
                connection.request("POST", "/v1/signals", body, headers)
                reply = connection.getresponse()
                answer = json.loads(reply.read())
                if reply.status != 200 or answer["data"]["accepted"] != per_batch:
                    sys.exit(f"signals: {reply.status} {str(answer)[:300]}")
            took, cpu, all_ = time.monotonic() - started, server.cpu() - before, count * per_batch
            print(f"signals {'gzip' if packed else 'plain'}: {all_ / took:,.0f} signals/s; server alone {all_ / cpu:,.0f} per CPU second")


def answers(args):
    """What HTTP adds to a small query, and how fast a long answer is written."""
    with Annals(args, "answers") as server:
        file = f"{args.data}/cpu-{args.hours}.rw"
        post_frames(server.port, "/api/v1/write", f"Authorization: Bearer {server.token}", file, "rw", 1)
        stream = socket.create_connection(("127.0.0.1", server.port))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = START_MS // 1000 + int(float(args.hours) * 3600)

        def ask(target):
            request = f"GET {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {server.token}\r\n\r\n"
            started = time.monotonic()
            stream.sendall(request.encode())
            reply = stream.recv(1 << 20)
            length = int(re.search(rb"content-length: (\d+)", reply)[1])
            left = length - (len(reply) - reply.index(b"\r\n\r\n") - 4)
            while left > 0:
                left -= len(stream.recv(1 << 20))
            if not reply.startswith(b"HTTP/1.1 200"):
                sys.exit(f"{target}: {reply[:300]!r}")
            return time.monotonic() - started, length

        def many(name, target, times):
            before = server.cpu()
            took = sorted(ask(target) for _ in range(times))
            cpu = (server.cpu() - before) / times
            middle, length = took[times // 2]
            print(f"{name}: {length} bytes, median {middle * 1e3:.3f} ms, best {took[0][0] * 1e3:.3f} ms, server's CPU {cpu * 1e3:.3f} ms")
            return cpu, length

        query = urllib.parse.quote
        many("health, no query", "/-/healthy", 2000)
        many("the smallest query", f"/api/v1/query?query=1&time={end}", 2000)
        one = query('max_over_time(cpu_usage_user{hostname="host_7"}[1m])')
        many("one host, one hour by minutes", f"/api/v1/query_range?query={one}&start={end - 3600}&end={end}&step=60", 500)
        long = query("cpu_usage_user")
        # Both find the same; of the second answer one series is written.
        plain = f"start={START_MS // 1000}&end={end}&step=10"
        cpu, length = many("a long answer", f"/api/v1/query_range?query={long}&{plain}", 100)
        less, short = many("the same, one series of it", f"/api/v1/query_range?query={long}&{plain}&limit=1", 100)
        print(f"a long answer is written at {(length - short) / (cpu - less) / 1e9:.2f} GB/s, system calls that send it included")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("annals")
    parser.add_argument("loadgen")
    parser.add_argument("data")
    parser.add_argument("--hours", default="1")
    parser.add_argument("--core", default="0")
    parser.add_argument("--only", default="ingest,signals,answers")
    args = parser.parse_args()
    os.makedirs(args.data, exist_ok=True)
    os.sched_setaffinity(0, {int(args.core)})
    for part in args.only.split(","):
        {"ingest": ingest, "signals": signals, "answers": answers}[part](args)


main()
