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
const submit = (prompt) => {
  document.getElementById("prompt").value = prompt;
  document.getElementById("settings").requestSubmit();
};
const rgb = (canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Uint8Array(data.filter((_, i) => i % 4 !== 3));
};
const send = (path, body) => fetch(path, { method: "POST", body });

async function drive() {
  const { prompt, steps } = await (await fetch("/wish")).json();
  await until("loading", "ready");
  document.getElementById("seed").value = 1;
  document.getElementById("steps").value = steps;
  const labels = button(prompt) !== undefined;
  // What comes next takes the place of what is drawn.
  if (labels) button("3").click();
  else submit("a dog");
  await until("the first wish", "drawing");
  if (labels) button(prompt).click();
  else submit(prompt);
  await until("the second wish", "drawing");
  document.getElementById("cancel").click();
  await until("cancelling", "canceled");
  submit(prompt);
  await until("drawing", "done");
  const frames = document.querySelectorAll("#film canvas").length;
  if (frames !== steps) throw new Error(`${frames} previews of ${steps} steps`);
  await send("/note", `${status()}; ${document.getElementById("where").textContent}`);
  // The CPU's picture first, decoded here.
  const file = await (await fetch("/expected")).blob();
  const image = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const wanted = new OffscreenCanvas(image.width, image.height);
  wanted.getContext("2d").drawImage(image, 0, 0);
  await send("/expected", rgb(wanted));
  await send("/picture", rgb(document.getElementById("picture")));
}

addEventListener("error", (event) => send("/failure", `${event.message} at ${event.filename}:${event.lineno}`));
drive().catch((error) => send("/failure", `${error.message}`));
