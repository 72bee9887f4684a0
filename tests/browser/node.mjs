// The npm package, as installed beside this file, in Node: what it draws is what the program draws, byte for byte, and what
// goes wrong is told. See browser.sh.
//
//   node node.mjs WEIGHTS STEPS digits.png emoji.png
//
// Seen red with the seed, the guidance and the negative prompt not handed on, with a step that can be asked when it is over,
// with what a step was asked for not waited for, and with a signal not listened to.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { inflateSync } from "node:zlib";
import { Nijimi, NijimiError } from "nijimi";

const [weights, steps, ...pictures] = process.argv.slice(2);
const open = (name) => Nijimi.open(`${weights}/${name}-q8_0.gguf`);
const failure = async (promise, fault, message) => {
  await assert.rejects(promise, (error) => {
    assert(error instanceof NijimiError, `${error}`);
    assert.equal(error.fault, fault, error.message);
    assert.match(error.message, message);
    return true;
  });
};

/** Pixels of a PNG of 8 bits, as red, green, blue, opacity. */
function decode(png) {
  const [width, height, kind] = [png.readUInt32BE(16), png.readUInt32BE(20), png[25]];
  const channels = { 0: 1, 2: 3, 6: 4 }[kind];
  const parts = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const lines = inflateSync(Buffer.concat(parts));
  const row = width * channels;
  const out = new Uint8Array(height * row);
  for (let y = 0; y < height; y++) {
    const filter = lines[y * (row + 1)];
    for (let x = 0; x < row; x++) {
      const at = y * row + x;
      const a = x >= channels ? out[at - channels] : 0;
      const b = y ? out[at - row] : 0;
      const c = x >= channels && y ? out[at - row - channels] : 0;
      const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
      const paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      out[at] = lines[y * (row + 1) + 1 + x] + [0, a, b, (a + b) >> 1, paeth][filter];
    }
  }
  const rgba = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) rgba[4 * i + c] = out[i * channels + (channels === 1 ? 0 : c)];
  }
  return { width, height, data: rgba };
}

/** Draws with every step's estimate, and compares with the program's picture. */
async function compare(model, prompt, file) {
  const [options, estimates] = [{ seed: 1, steps: Number(steps) }, []];
  const begun = process.cpuUsage().user;
  let last;
  for await (const step of model.draw(prompt, options)) {
    assert.deepEqual([step.index, step.total, step.done], [estimates.length, options.steps, step.index + 1 === options.steps]);
    last = await step.pixels();
    estimates.push(last.data);
  }
  const wanted = decode(await readFile(file));
  assert.deepEqual([last.width, last.height], [wanted.width, wanted.height]);
  const wrong = wanted.data.filter((value, i) => value !== last.data[i]).length;
  assert.equal(wrong, 0, `${prompt}: ${wrong} of ${wanted.data.length} values differ from the program's`);
  assert(estimates.every((data, i) => i === 0 || !Buffer.from(data).equals(Buffer.from(estimates[i - 1]))));
  console.log(`${prompt}: the program's bytes; ${((process.cpuUsage().user - begun) / 1e6).toFixed(1)} s of a CPU`);
  return last;
}

const digits = await open("digits");
assert.deepEqual([digits.labels.length, digits.width, digits.height, digits.backend], [10, 28, 28, "cpu"]);
await compare(digits, "7", pictures[0]);

// A wish that cannot be: whose fault, and what to do.
await failure(digits.picture("dog", { steps: 1 }), "input", /no label "dog": the model knows 0, 1/);
await failure(digits.picture("7", { steps: 1, width: 64 }), "request", /width is 64, must be 28/);
await failure(digits.picture("7", { negativePrompt: "8" }), "request", /negativePrompt/);
await failure(digits.picture("7", { seed: -1 }), "request", /seed is -1, must be a whole number/);
await failure(digits.picture("7", { step: 4 }), "request", /no option "step"/);
await failure(digits.picture("7", { solver: "eulre" }), "request", /"eulre" is not known: there are ddpm, ddim/);
await failure(digits.picture("7", { steps: 2000 }), "request", /steps/);
await failure(Nijimi.open("no/such.gguf"), "input", /no\/such.gguf/);
await failure(Nijimi.open(new Uint8Array(64)), "input", /./);
await failure(Nijimi.open(`${weights}/heights.gguf`), "input", /text-to-image and diffusion models alone/);
await failure(Nijimi.open(`${weights}/digits-q8_0.gguf`, { backend: "webgpu" }), "device", /no WebGPU/);

// A loop that is left, and a signal, end a drawing; the next one is as if they had not been.
const short = { seed: 5, steps: 3 };
const alone = await digits.picture("3", short);
let gone;
for await (const step of digits.draw("4", { steps: 50 })) {
  gone = step;
  if (step.index === 1) break;
}
const cancel = new AbortController();
const drawing = digits.draw("4", { steps: 50, signal: cancel.signal });
await drawing.next();
cancel.abort();
await assert.rejects(drawing.next(), { name: "AbortError" });
const later = new AbortController();
const begun = digits.draw("4", { steps: 50, signal: later.signal }).next();
later.abort();
await assert.rejects(begun, { name: "AbortError" });
assert.deepEqual(await digits.picture("3", short), alone);
// Two at once.
assert.deepEqual(await Promise.all([digits.picture("3", short), digits.picture("3", { ...short, seed: 5n })]), [alone, alone]);
for await (const step of digits.draw("4", { steps: 2 })) {
  if (gone && step.index) await failure(gone.pixels(), "request", /this step is over/);
  gone = step;
}
digits.close();
await failure(digits.picture("3", short), "request", /the model is closed/);

const bytes = await readFile(`${weights}/emoji-q8_0.gguf`);
await failure(Nijimi.open(bytes.subarray(0, bytes.length / 2)), "input", /truncated/);
const emoji = await Nijimi.open(bytes);
const apple = await compare(emoji, "a red apple", pictures[1]);
// What is asked for counts.
const few = { seed: 1, steps: Number(steps), guidanceScale: 3 };
for (const changed of [{ seed: 2 }, { guidanceScale: 1 }, { negativePrompt: "red" }, { solver: "euler" }, { width: 96 }]) {
  const other = await emoji.picture("a red apple", { ...few, steps: 2, ...changed });
  assert.equal(other.width, changed.width ?? 64);
  assert.notDeepEqual(other, await emoji.picture("a red apple", { ...few, steps: 2 }), JSON.stringify(changed));
}
assert.deepEqual([apple.width, apple.height, emoji.labels], [64, 64, []]);
