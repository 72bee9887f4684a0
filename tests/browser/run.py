"""Draws a picture with seed 1 on the page in a browser, and compares it with the program's on the CPU: see browser.sh.

run.py CHROMIUM PACKAGE WEIGHTS PROMPT STEPS BACKEND EXPECTED.png OUT

The page gets the npm package from the folder PACKAGE.
"""

import http.server
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

# dB. The CPU backend rounds activations to 8 bits for quantized weights, a device does not.
LEAST = {"cpu": math.inf, "webgpu": 40.0}
TIMEOUT = 280  # seconds

chromium, package, weights, prompt, steps, backend, expected, out = sys.argv[1:]
chromium, package, weights, expected, out = map(Path, (chromium, package, weights, expected, out))
here = Path(__file__).parent
PAGE = "examples/browser/"
done = threading.Event()
result = {}

# The page is loaded once /wait is, and only a loaded page has its screenshot taken.
INJECTED = b'<script type="module" src="/drive.js"></script><img src="/wait" alt="" hidden></html>'
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm"}


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/octet-stream"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        name = self.path.split("?")[0].lstrip("/")
        if name == "wish":
            return self.answer(200, json.dumps({"prompt": prompt, "steps": int(steps)}).encode(), "application/json")
        if name == "wait":
            done.wait(TIMEOUT)
            return self.answer(404)
        known = {"drive.js": here / "drive.js", f"weights/{weights.name}": weights, "expected": expected}
        folder = package if name.startswith("js/") else here.parent.parent / PAGE
        file = known.get(name) or folder / name.removeprefix("js/").removeprefix(PAGE)
        if ".." in name or not file.is_file():
            return self.answer(404)
        body = file.read_bytes()
        if file.name == "index.html":
            body = body.replace(b"</html>", INJECTED)
        self.answer(200, body, TYPES.get(file.suffix, "application/octet-stream"))

    def do_POST(self):
        result[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200)
        if self.path in ("/picture", "/failure"):
            done.set()


def psnr(a, b):
    squares = sum((x - y) ** 2 for x, y in zip(a, b))
    return math.inf if squares == 0 else 10 * math.log10(255**2 * len(a) / squares)


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    screenshot = out / f"{weights.stem}-{backend}-page.png"
    screenshot.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as home:
        flags = [
            "--headless",
            "--no-sandbox",  # containers give it none
            "--enable-unsafe-webgpu",  # the software adapter, where there is no GPU
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
            "--hide-scrollbars",
            "--window-size=480,960",
            f"--user-data-dir={home}",
            f"--screenshot={screenshot}",
            f"--timeout={TIMEOUT * 1000}",
        ]
        address = f"http://localhost:{server.server_port}/{PAGE}index.html?model={weights.name}&backend={backend}"
        env = os.environ | {"XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
        with open(out / "chromium.log", "wb") as log:
            browser = subprocess.Popen([chromium, *flags, address], env=env, stdout=log, stderr=log)
            try:
                browser.wait(TIMEOUT + 20)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()
    if "/failure" in result:
        sys.exit(f"the page failed: {result['/failure'].decode()}")
    if "/picture" not in result:
        sys.exit(f"no picture came; see {out}/chromium.log")
    found, wanted = result["/picture"], result["/expected"]
    print(result.get("/note", b"").decode())
    if len(found) != len(wanted):
        sys.exit(f"{len(found)} values, expected {len(wanted)}")
    ratio = psnr(found, wanted)
    print(f"{ratio:.1f} dB to the CPU's picture; the page is in {screenshot}")
    if ratio < LEAST.get(backend, 40.0):
        sys.exit(f"less than {LEAST.get(backend, 40.0)} dB")
    if len(set(found)) < 10:
        sys.exit("the picture is blank")


main()
