import init, { Painter } from "./pkg/nijimi_browser.js";

const $ = (id) => document.getElementById(id);
const say = (text) => { $("status").textContent = text; };
let painter;
// What is known of the painter, which answers nothing while it draws.
let model;
// What is wanted: a new wish stops the drawing that is under way.
let wish = null;
let drawing = false;

/** Bytes on a canvas: a gray one a pixel, or red, green and blue. */
function paint(canvas, bytes) {
  canvas.width = model.width;
  canvas.height = model.height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixel = (i) => (model.channels === 1 ? [bytes[i], bytes[i], bytes[i]] : bytes.subarray(3 * i, 3 * i + 3));
  for (let i = 0; i < model.width * model.height; i++) image.data.set([...pixel(i), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

/** Draws what is wanted, until nothing new is. */
async function draw() {
  if (drawing) return;
  drawing = true;
  try {
    while (wish) {
      const { prompt, seed, steps } = wish;
      const mine = wish;
      document.body.dataset.state = "drawing";
      $("film").replaceChildren();
      $("progress").max = steps;
      const start = performance.now();
      const picture = await painter.draw(prompt, seed, steps, (step, bytes) => {
        $("progress").value = step;
        say(`step ${step} of ${steps}`);
        paint($("picture"), bytes);
        paint($("film").appendChild(document.createElement("canvas")), bytes);
        return wish === mine;
      });
      if (!picture) continue;
      paint($("picture"), picture);
      say(`${prompt}, seed ${seed}: ${((performance.now() - start) / 1000).toFixed(1)} s on ${model.device}`);
      if (wish === mine) wish = null;
    }
    document.body.dataset.state = "done";
  } catch (error) {
    wish = null;
    fail(error);
  } finally {
    drawing = false;
  }
}

function fail(error) {
  document.body.dataset.state = "failed";
  say(navigator.gpu ? String(error.message ?? error) : "This browser has no WebGPU, or not on this address: use https or localhost.");
}

function ask(prompt) {
  for (const button of $("labels").children) button.ariaPressed = String(button.textContent === prompt);
  wish = { prompt, seed: $("seed").valueAsNumber >>> 0, steps: Math.max(1, $("steps").valueAsNumber | 0) };
  draw();
}

async function start() {
  await init();
  const file = new URLSearchParams(location.search).get("model") ?? "emoji-q8_0.gguf";
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file}: ${response.status} ${response.statusText}`);
  painter = await Painter.open(new Uint8Array(await response.arrayBuffer()));
  const [width, height, channels] = painter.size;
  model = { device: painter.device, labels: painter.labels, width, height, channels };
  $("steps").value = painter.steps;
  for (const label of model.labels) {
    const button = document.createElement("button");
    button.textContent = label;
    button.onclick = () => ask(label);
    $("labels").append(button);
  }
  const prompts = model.labels.length === 0;
  $("words").hidden = !prompts;
  const pressed = () => $("labels").querySelector('[aria-pressed="true"]')?.textContent;
  const wanted = () => (prompts ? $("prompt").value : pressed());
  $("another").onclick = () => {
    $("seed").value = Math.floor(Math.random() * 2 ** 32);
    ask(wanted() ?? model.labels[0]);
  };
  $("settings").onchange = () => {
    if (wanted() !== undefined) ask(wanted());
  };
  $("settings").onsubmit = (event) => {
    event.preventDefault();
    ask(wanted());
  };
  say(`ready, on ${model.device}`);
  document.body.dataset.state = "ready";
}

start().catch(fail);
