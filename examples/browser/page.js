import { Nijimi } from "nijimi";

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
let model;
// Ends the drawing that is under way.
let drawing = null;

function state(name, text) {
  document.body.dataset.state = name;
  $("status").textContent = text;
  $("cancel").disabled = name !== "drawing";
  for (const id of ["draw", "another"]) $(id).disabled = !model;
}

function paint(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext("2d").putImageData(picture.toImageData(), 0, 0);
}

/** Draws what the form says; what was under way makes way. */
async function draw() {
  if (!$("settings").reportValidity()) return;
  drawing?.abort();
  const mine = (drawing = new AbortController());
  const [prompt, seed, steps] = [$("prompt").value, $("seed").valueAsNumber, $("steps").valueAsNumber];
  for (const button of $("labels").children) button.ariaPressed = String(button.textContent === prompt);
  $("film").replaceChildren();
  $("progress").max = steps;
  $("progress").value = 0;
  state("drawing", "reading the prompt …");
  const start = performance.now();
  try {
    for await (const step of model.draw(prompt, { seed, steps, signal: mine.signal })) {
      const picture = await step.pixels();
      paint($("picture"), picture);
      paint($("film").appendChild(document.createElement("canvas")), picture);
      $("progress").value = step.index + 1;
      $("status").textContent = `step ${step.index + 1} of ${step.total}`;
    }
    state("done", `${prompt}, seed ${seed}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  } catch (error) {
    // Another drawing has the page now.
    if (mine !== drawing) return;
    if (mine.signal.aborted) state("canceled", "canceled");
    else state("failed", error.message);
  }
}

async function start() {
  const file = query.get("model") ?? "emoji-q8_0.gguf";
  model = await Nijimi.open(`../../weights/${file}`, { backend: query.get("backend") ?? "auto" });
  const onGpu = model.backend === "webgpu";
  const [here, other, name] = onGpu ? [`WebGPU: ${model.device}`, "cpu", "the CPU"] : ["the CPU", "webgpu", "WebGPU"];
  $("where").replaceChildren(`${model.name} draws on ${here}; `);
  const link = $("where").appendChild(document.createElement("a"));
  link.textContent = `try ${name}`;
  link.href = `?${new URLSearchParams({ model: file, backend: other })}`;
  $("steps").value = model.steps;
  for (const label of model.labels) {
    const button = $("labels").appendChild(document.createElement("button"));
    button.textContent = label;
    button.type = "button";
    button.onclick = () => {
      $("prompt").value = label;
      draw();
    };
  }
  $("labels").hidden = model.labels.length === 0;
  $("words").hidden = model.labels.length > 0;
  if (model.labels.length) $("prompt").value = model.labels[0];
  state("ready", "ready");
}

$("settings").onsubmit = (event) => {
  event.preventDefault();
  draw();
};
$("another").onclick = () => {
  $("seed").value = Math.floor(Math.random() * 2 ** 32);
  draw();
};
$("cancel").onclick = () => drawing?.abort();
state("loading", "loading …");
start().catch((error) => state("failed", error.message));
