// Put into the page by run.py: uses it as a person would, and sends the server what its canvas shows.

async function until(what, state) {
  const start = performance.now();
  while (document.body.dataset.state !== state) {
    if (document.body.dataset.state === "failed") throw new Error(`${what}: ${status()}`);
    if (performance.now() - start > 240_000) throw new Error(`${what}: nothing for four minutes; ${status()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const status = () => document.getElementById("status").textContent;
const button = (label) => [...document.querySelectorAll("#labels button")].find((b) => b.textContent === label);
const send = (path, body) => fetch(path, { method: "POST", body });

async function drive() {
  await until("loading", "ready");
  document.getElementById("seed").value = 1;
  document.getElementById("steps").value = 20;
  // The second wish stops the first.
  button("3").click();
  await until("the first click", "drawing");
  button("7").click();
  await until("drawing", "done");
  const canvas = document.getElementById("picture");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const frames = document.querySelectorAll("#film canvas").length;
  if (frames !== 20) throw new Error(`${frames} previews of 20 steps`);
  await send("/note", status());
  await send("/picture", new Uint8Array(data.filter((_, i) => i % 4 === 0)));
}

addEventListener("error", (event) => send("/failure", `${event.message} at ${event.filename}:${event.lineno}`));
drive().catch((error) => send("/failure", `${error.message}`));
