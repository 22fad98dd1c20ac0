#!/usr/bin/env python3
"""benches/soak.py ANNALS DATA [--seconds 1200] [--connections 200]

Runs `annals serve` under half as many connections that write, two fifths that read, and a tenth that come, say half a request and
go; kills it with SIGKILL in the middle and starts it again. Writers send deltas and send again what was not answered, so
that in the end every writer's sum must be exactly what it was told is written. Prints memory and open files over time; ends
with 1 where a sample is lost or counted twice, an answer is wrong, memory grows, or a file stays open.
"""
import argparse, asyncio, json, os, random, re, shutil, signal, socket, subprocess, sys, tempfile, time

# The clients' rates are what is tested against, not the limits of a tenant.
CONFIG = """log = "text"
[limits]
queries_waiting = 1_000
[tenant]
requests_per_second = 100_000
bytes_per_second = 1_000_000_000
queries = 1_000
"""
SAMPLES = 20
READS = [
    "/api/v1/query?query=sum(sum_over_time(soak[1m]))",
    "/api/v1/query?query=soak",
    "/api/v1/query_range?query=sum+by+(part)+(increase(soak[1m]))&start={start}&end={end}&step=5",
    "/api/v1/series?match[]=soak%7Bwriter=%223%22%7D",
    "/api/v1/labels",
    "/api/v1/label/writer/values",
    "/federate?match[]=soak%7Bpart=%221%22%7D",
    "/api/v1/status/tsdb",
]


class Soak:
    def __init__(self, args):
        self.args, self.store = args, tempfile.mkdtemp(prefix="soak-", dir=args.data)
        self.run("tenant", "create", "soak", "--plan", "archive")
        self.token = self.run("token", "create", "--tenant", "soak", "--role", "manager").strip()
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        with open(f"{self.store}.toml", "w") as file:
            file.write(CONFIG)
        self.log = open(f"{self.store}.log", "w")
        self.end, self.written, self.read, self.again, self.wrong = 0.0, {}, 0, 0, []
        self.standing = []

    def run(self, *words):
        return subprocess.run([self.args.annals, *words, "--data", self.store], check=True, capture_output=True, text=True).stdout

    def serve(self):
        command = [self.args.annals, "serve", "--data", self.store, "--listen", f"127.0.0.1:{self.port}", "--config", f"{self.store}.toml"]
        self.server = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for _ in range(600):
            try:
                return socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
        sys.exit(f"it does not start: {self.log.name}")

    async def ask(self, stream, target, body=None):
        """Status and body; raises OSError where the connection ends."""
        reader, writer = stream
        length = "" if body is None else f"Content-Length: {len(body)}\r\n"
        head = f"{'GET' if body is None else 'POST'} {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {self.token}\r\n{length}\r\n"
        writer.write(head.encode() + (body or b""))
        await writer.drain()
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head)
            return int(head.split(" ")[1]), await reader.readexactly(int(length[1]) if length else 0)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("it ended") from error

    async def keep(self, once):
        """Does something over one connection again and again, over a new one where that has ended."""
        stream = None
        while time.monotonic() < self.end:
            try:
                stream = stream or await asyncio.open_connection("127.0.0.1", self.port)
                await once(stream)
            except OSError:
                if stream:
                    stream[1].close()
                stream = None
                await asyncio.sleep(0.1)
        if stream:
            stream[1].close()

    async def write(self, number):
        self.written[number], waiting, last = 0, None, 0

        async def once(stream):
            nonlocal waiting, last
            if waiting is None:
                # No two bodies are alike: the same one is counted once.
                last = max(int(time.time() * 1000), last + SAMPLES)
                metric = {"__name__": "soak", "writer": str(number), "part": str(last % 4)}
                times = list(range(last - SAMPLES + 1, last + 1))
                waiting = json.dumps({"metric": metric, "kind": "delta", "values": [1] * SAMPLES, "timestamps": times}).encode()
            else:
                self.again += 1
            status, body = await self.ask(stream, "/api/v1/import", waiting)
            if status == 204:
                self.written[number] += SAMPLES
                waiting = None
            elif status not in (429, 503):
                self.wrong.append(f"a write: {status} {body[:200]}")
                waiting = None
            await asyncio.sleep(0.05)

        await self.keep(once)
        # What was not answered is sent until it is.
        while waiting is not None:
            try:
                stream = await asyncio.open_connection("127.0.0.1", self.port)
                await once(stream)
                stream[1].close()
            except OSError:
                await asyncio.sleep(0.1)

    async def reads(self):
        async def once(stream):
            now = int(time.time())
            status, body = await self.ask(stream, random.choice(READS).format(start=now - 300, end=now))
            self.read += 1
            if status != 200 and status not in (429, 503):
                self.wrong.append(f"a read: {status} {body[:200]}")
            await asyncio.sleep(0.1)

        await self.keep(once)

    async def come_and_go(self):
        async def once(stream):
            stream[1].write(random.choice([b"GET /api/v1/que", b"POST /api/v1/import HTTP/1.1\r\nContent-Length: 99\r\n\r\n{", b"\x16\x03\x01"]))
            await asyncio.sleep(0.2)
            raise OSError

        await self.keep(once)

    def look(self):
        """Resident MiB and open files."""
        with open(f"/proc/{self.server.pid}/status") as file:
            resident = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024
        return resident, len(os.listdir(f"/proc/{self.server.pid}/fd"))

    async def watch(self):
        begun, killed = time.monotonic(), False
        while time.monotonic() < self.end:
            await asyncio.sleep(self.args.seconds / 40)
            past = time.monotonic() - begun
            if not killed and past > self.args.seconds / 2:
                self.server.send_signal(signal.SIGKILL)
                self.server.wait()
                started = time.monotonic()
                self.serve()
                killed = True
                print(f"{past:6.0f} s  killed, and listening again after {time.monotonic() - started:.2f} s")
            resident, files = self.look()
            self.standing.append((killed, resident, files))
            print(f"{past:6.0f} s  {resident:6.1f} MiB, {files} files, {sum(self.written.values())} samples written, {self.read} reads", flush=True)

    async def all(self):
        self.serve()
        _, files = self.look()
        count = self.args.connections
        self.end = time.monotonic() + self.args.seconds
        await asyncio.gather(
            self.watch(),
            *(self.write(number) for number in range(count // 2)),
            *(self.reads() for _ in range(count * 2 // 5)),
            *(self.come_and_go() for _ in range(count - count // 2 - count * 2 // 5)),
        )
        await asyncio.sleep(2)
        stream = await asyncio.open_connection("127.0.0.1", self.port)
        _, body = await self.ask(stream, "/api/v1/query?query=sum+by+(writer)+(sum_over_time(soak[1d]))")
        found = {int(own["metric"]["writer"]): int(own["value"][1]) for own in json.loads(body)["data"]["result"]}
        for number, written in self.written.items():
            if found.get(number, 0) != written:
                self.wrong.append(f"writer {number} was told {written}, and {found.get(number, 0)} are there")
        stream[1].close()
        await asyncio.sleep(1)
        resident, left = self.look()
        # The log and blocks come and go; sockets do not stay.
        if left > files + 30:
            self.wrong.append(f"{left} files are open, {files} were at the start")
        for killed in (False, True):
            life = [resident for of, resident, _ in self.standing if of == killed]
            third = max(1, len(life) // 3)
            if max(life[-third:]) > 1.3 * max(life[third:2 * third]) + 32:
                self.wrong.append(f"memory grows: {max(life[third:2 * third]):.0f}, then {max(life[-third:]):.0f} MiB")
        self.server.terminate()
        if self.server.wait() != 0:
            self.wrong.append("it did not stop as it should")
        total = sum(self.written.values())
        print(f"{total} samples written and found, {self.again} bodies sent again, {self.read} reads, {resident:.0f} MiB and {left} files at the end")
        for wrong in self.wrong[:20]:
            print(f"WRONG {wrong}")
        shutil.rmtree(self.store)
        return 1 if self.wrong else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("annals")
    parser.add_argument("data")
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--connections", type=int, default=200)
    args = parser.parse_args()
    os.makedirs(args.data, exist_ok=True)
    sys.exit(asyncio.run(Soak(args).all()))


main()
