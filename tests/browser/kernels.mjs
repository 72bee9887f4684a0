// Runs js/examples/kernels.rs: node kernels.mjs kernels.wasm

import { readFile } from "node:fs/promises";

const { instance } = await WebAssembly.instantiate(await readFile(process.argv[2]));
const { check, memory } = instance.exports;
const at = check();
const bytes = new Uint8Array(memory.buffer);
const found = new TextDecoder().decode(bytes.subarray(at, bytes.indexOf(0, at)));
if (found) {
  console.error(`the kernels' bits differ from the portable ones'\n${found}`);
  process.exit(1);
}
console.log("the kernels' bits are the portable ones'");
