"""`nijimi serve`, as its clients see it: the program's own pictures, whole files, by each interface; an end by signal; strangers.

serve.py NIJIMI           in some seconds; the official openai package draws, too, where it is installed
serve.py NIJIMI --load [N]  8 clients of 200 (or N, a multiple of 5) requests each, none lost, each picture the program's of that
                          seed, memory flat
"""

import base64
import http.client
import json
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

nijimi = Path(sys.argv[1]).resolve()
DRAW = "/v1/images/generations"


class Server:
    """A server of the program's, at a free port."""

    def __init__(self, *options):
        command = [nijimi, "serve", "--port", "0", "--backend", "cpu", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.fullmatch(r"nijimi serves at http://127\.0\.0\.1:(\d+)\n", line)[1])

    def ask(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def resident(self):
        """Bytes in memory, mapped files not counted."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"RssAnon:\s*(\d+)", status)[1]) * 1024

    def end(self):
        """By SIGTERM: seconds until it has left, in good order."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.process.returncode
        return time.monotonic() - began


def drawn(folder, *args):
    """What the program writes."""
    file = Path(folder) / "picture.png"
    subprocess.run([nijimi, *args, "--backend", "cpu", "-o", file], check=True, capture_output=True)
    return file.read_bytes()


def pictures(folder):
    server = Server()
    seven = drawn(folder, "7", "-m", "digits", "-s", "5", "--steps", "3")
    apple = drawn(folder, "a red apple", "-n", "blue", "-s", "5", "--steps", "2", "--sampling-method", "euler_a", "--cfg-scale", "3")
    status, answer = server.ask("POST", DRAW, {"model": "digits", "prompt": "7", "seed": 5, "steps": 3})
    assert status == 200 and base64.b64decode(answer["data"][0]["b64_json"]) == seven, "another file than the program's"
    body = {"prompt": "a red apple", "negative_prompt": "blue", "seed": 5, "steps": 2, "sampler_name": "Euler a", "cfg_scale": 3}
    status, answer = server.ask("POST", "/sdapi/v1/txt2img", body)
    assert status == 200 and base64.b64decode(answer["images"][0]) == apple, "another file than the program's"
    return server, seven


def official(server, seven):
    """The openai package, if it is there."""
    try:
        import openai
    except ImportError:
        return print("not drawn by the openai package: it is not installed")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["emoji", "digits"]
    more = {"seed": 5, "steps": 3}
    answer = client.images.generate(model="digits", prompt="7", n=2, response_format="b64_json", user="me", extra_body=more)
    assert len(answer.data) == 2 and base64.b64decode(answer.data[0].b64_json) == seven
    events = list(client.images.generate(model="digits", prompt="7", stream=True, partial_images=1, extra_body=more))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"], events
    assert base64.b64decode(events[1].b64_json) == seven
    edit = {"strength": 0.5, "steps": 2, "seed": 1}
    image = ("image.png", seven, "image/png")
    answer = client.images.edit(model="emoji", image=image, prompt="a cat", size="64x64", extra_body=edit)
    assert base64.b64decode(answer.data[0].b64_json).startswith(b"\x89PNG")
    for wrong, error in [
        ({"quality": "hd"}, openai.BadRequestError),
        ({"model": "../../etc/passwd"}, openai.NotFoundError),
        ({"response_format": "url"}, openai.BadRequestError),
    ]:
        try:
            client.images.generate(**{"model": "digits", "prompt": "7", **wrong})
        except error as e:
            assert list(wrong)[0] in str(e) or "model" in str(e), e
        else:
            raise SystemExit(f"{wrong} was obeyed")
    print(f"drawn by the openai package {openai.__version__}")


def signals():
    """SIGTERM while it draws: the run is left when its time is over."""
    server = Server("--grace", "0")
    body = {"model": "digits", "prompt": "7", "steps": 1000, "n": 8}
    answers = []
    client = threading.Thread(target=lambda: answers.append(server.ask("POST", DRAW, body)))
    client.start()
    while server.ask("GET", "/health")[1]["running"] == 0:
        time.sleep(0.01)
    seconds = server.end()
    client.join()
    assert answers[0][0] == 503 and "stopping" in json.dumps(answers[0][1]), answers
    print(f"left {seconds:.2f} s after SIGTERM, in the midst of a run")


def strangers(folder):
    file = Path(folder) / "token"
    for options, token, code, part in [
        (["--host", "0.0.0.0"], None, 2, "--token-file"),
        (["--host", "example.org"], None, 2, "--host example.org"),
        (["--host", "0.0.0.0", "--token-file", file], "short", 3, "16 visible characters"),
        (["--token-file", Path(folder) / "none"], None, 3, "cannot be read"),
        (["-m", file], "not a model", 3, str(file)),
    ]:
        if token:
            file.write_text(token)
        command = [nijimi, "serve", "--port", "0", *options]
        left = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert left.returncode == code and part in left.stderr and left.stderr.count("\n") == 1, (options, left)
    file.write_text("0123456789abcdef\n")
    server = Server("--token-file", file)
    assert server.ask("GET", "/v1/models")[0] == 401
    assert server.ask("GET", "/v1/models", headers={"Authorization": "Bearer 0123456789abcdef"})[0] == 200
    command = [nijimi, "serve", "--port", str(server.port)]
    taken = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert taken.returncode == 1 and "cannot listen" in taken.stderr, taken
    server.end()


def load(folder, clients=8, requests=200, steps=2):
    """Each client draws digits of seeds of its own, one after the other."""
    seeds = clients * requests // 10
    target = Path(folder) / "%04d.png"
    words = "0 1 2 3 4 5 6 7 8 9"
    args = [words, "-m", "digits", "-b", str(seeds), "-s", "0", "--steps", str(steps), "--backend", "cpu", "-o", target]
    subprocess.run([nijimi, *args], check=True, capture_output=True)
    wanted = [(Path(folder) / f"{i:04d}.png").read_bytes() for i in range(clients * requests)]
    server, wrong, times, memory = Server(), [], [], []

    def client(number):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        for i in range(number, len(wanted), clients):
            body = {"model": "digits", "prompt": str(i // seeds), "seed": i % seeds, "steps": steps}
            began = time.monotonic()
            connection.request("POST", DRAW, json.dumps(body))
            answer = connection.getresponse()
            text = answer.read()
            times.append(time.monotonic() - began)
            if answer.status != 200 or base64.b64decode(json.loads(text)["data"][0]["b64_json"]) != wanted[i]:
                wrong.append((i, answer.status))
            if len(times) % 20 == 0:
                memory.append(server.resident())

    began = time.monotonic()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    counters = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    server.end()
    assert not wrong and len(times) == len(wanted), (wrong[:5], len(times))
    assert float(counters["nijimi_pictures_total"]) == len(wanted), counters
    times.sort()
    runs = int(counters["nijimi_runs_total"])
    early, late = max(memory[: len(memory) // 2]), max(memory[len(memory) // 2 :])
    print(f"{clients} clients, {len(times)} requests, none lost, all equal to the program's: {seconds:.1f} s, {len(times) / seconds:.0f} a second")
    print(f"{runs} runs; a request took {times[len(times) // 2] * 1e3:.0f} ms (median), {times[-len(times) // 100] * 1e3:.0f} ms (99 %)")
    print(f"resident at the most: {early / 1e6:.1f} MB in the first half, {late / 1e6:.1f} MB in the second")
    assert late < 1.05 * early + 1e6, memory


with tempfile.TemporaryDirectory() as folder:
    if "--load" in sys.argv:
        load(folder, requests=int(sys.argv[3]) if sys.argv[3:] else 200)
    else:
        server, seven = pictures(folder)
        official(server, seven)
        server.end()
        signals()
        strangers(folder)
        print("served")
