"""The server's page in a headless Chromium: a typed prompt appears step by step, is the program's picture, and can be cancelled.

serve_page.py NIJIMI CHROMIUM OUT.png

The page is fetched through this script, which adds what types, clicks and looks; the screenshot is for people.
"""

import base64
import http.client
import http.server
import json
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

nijimi, chromium, screenshot = sys.argv[1:]
TIMEOUT = 120  # seconds
PROMPT, SEED, STEPS = "a red apple", 1, 4
done, seen = threading.Event(), {}

# The page is loaded once /wait is, and only a loaded page has its screenshot taken.
DRIVE = """
<img src="/wait" alt="" hidden><script>
const $ = (id) => document.getElementById(id);
const until = async (is) => { while (!is()) await new Promise((go) => setTimeout(go, 20)); };
const tell = (seen) => fetch("/seen", { method: "POST", body: JSON.stringify(seen) });
async function drive() {
  await until(() => $("model").options.length === 2);
  const shown = [];
  new MutationObserver(() => shown.push($("picture").src)).observe($("picture"), { attributes: true });
  // A run of which the end is not seen.
  $("model").value = "digits";
  $("prompt").value = "7";
  $("steps").value = 1000;
  $("draw").click();
  await until(() => shown.length > 2);
  $("cancel").click();
  await until(() => !$("draw").disabled);
  const cancelled = $("said").textContent;
  shown.length = 0;
  $("model").value = "emoji";
  $("model").dispatchEvent(new Event("change"));
  $("prompt").value = "%s";
  $("seed").value = %d;
  $("steps").value = %d;
  $("draw").click();
  await until(() => !$("draw").disabled);
  await tell({ cancelled, shown, said: $("said").textContent, progress: $("progress").value });
}
addEventListener("error", (event) => tell({ failure: event.message }));
drive().catch((error) => tell({ failure: String(error) }));
</script></html>
""" % (PROMPT, SEED, STEPS)


class Between(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def pass_on(self, method):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.path == "/wait":
            done.wait(TIMEOUT)
            return self.send_error(404)
        if self.path == "/seen":
            seen.update(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return done.set()
        server = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        server.request(method, self.path, body)
        answer = server.getresponse()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.end_headers()
        try:
            if self.path == "/":
                return self.wfile.write(answer.read().replace(b"</html>", DRIVE.encode()))
            while piece := answer.read1(65536):
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            # The browser cancelled; so does this.
            server.close()

    def do_GET(self):
        self.pass_on("GET")

    def do_POST(self):
        self.pass_on("POST")


with tempfile.TemporaryDirectory() as folder:
    serve = subprocess.Popen([nijimi, "serve", "--port", "0", "--backend", "cpu"], stdout=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)$", serve.stdout.readline())[1])
    between = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between)
    between.daemon_threads = True
    threading.Thread(target=between.serve_forever, daemon=True).start()
    flags = ["--headless", "--no-sandbox", "--no-first-run", "--disable-background-networking", "--window-size=720,1000"]
    url = f"http://127.0.0.1:{between.server_port}/"
    command = [chromium, *flags, f"--user-data-dir={folder}/profile", f"--screenshot={screenshot}", url]
    left = subprocess.run(command, capture_output=True, text=True, timeout=2 * TIMEOUT)
    metrics = http.client.HTTPConnection("127.0.0.1", port)
    metrics.request("GET", "/metrics")
    counters = metrics.getresponse().read().decode()
    serve.terminate()
    assert serve.wait(60) == 0
    assert seen and "failure" not in seen, (seen, left.stderr[-2000:])
    file = Path(folder) / "apple.png"
    options = ["-s", str(SEED), "--steps", str(STEPS), "--backend", "cpu", "-o", file]
    subprocess.run([nijimi, PROMPT, *options], check=True, capture_output=True)
    expected = "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
    # Each step, then the picture.
    assert len(seen["shown"]) == STEPS + 1 and len(set(seen["shown"])) == STEPS + 1, [len(seen["shown"]), seen["said"]]
    assert seen["shown"][-1] == expected, "the page shows another picture than the program draws"
    assert (seen["cancelled"], seen["said"], seen["progress"]) == ("cancelled", f"seed {SEED}", 1), seen
    assert "nijimi_cancelled_total 1" in counters, counters
    print(f"{PROMPT}: {STEPS} steps and the program's picture on the page; a run was cancelled; screenshot: {screenshot}")
