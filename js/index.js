// Small diffusion models, drawn step by step: see README.md, and index.d.ts for all that there is.

import { inNode, NijimiError, open, receiver, serve } from "./engine.js";

export { NijimiError };

/** A picture: red, green, blue and opacity of each pixel, row by row from the top. */
export class Picture {
  constructor(width, height, data) {
    Object.assign(this, { width, height, data });
  }

  /** For a canvas; browsers alone have it. */
  toImageData() {
    return new ImageData(this.data, this.width, this.height);
  }
}

/** A step that was made. */
class Step {
  #pixels;
  #ask;

  constructor({ index, total }, ask) {
    Object.assign(this, { index, total, done: index + 1 === total });
    this.#ask = ask;
  }

  /** What the picture will be, as far as one can tell; of the last step, the picture. */
  pixels() {
    this.#pixels ??= this.#ask();
    return this.#pixels;
  }

  /** Lets nothing more be asked of it, and waits for what was. */
  async leave() {
    this.#ask = () => Promise.reject(new NijimiError("this step is over: ask for its pixels before the next", "request"));
    // Who asked hears of what went wrong.
    await this.#pixels?.catch(() => {});
  }
}

/** A model. */
export class Nijimi {
  #model;
  #worker;
  // Drawings of this thread, which hold the model.
  #served = Promise.resolve();
  #closing = new AbortController();

  /** Loads a model: see index.d.ts. */
  static async open(source, { backend = "auto", ...others } = {}) {
    known(others, "open");
    if (!["auto", "cpu", "webgpu"].includes(backend)) throw request("backend", backend, '"auto", "cpu" or "webgpu"');
    const file = readable(source);
    const gpu = backend === "cpu" ? null : await adapter();
    if (backend === "webgpu" && !gpu) {
      throw new NijimiError("there is no WebGPU here: use another browser, https or localhost, or the CPU", "device");
    }
    // A browser's software adapter draws slower than the CPU's own kernels.
    if (backend === "webgpu" || (gpu && !isSoftware(gpu))) {
      try {
        return await new Nijimi().#load(file, "webgpu");
      } catch (error) {
        if (backend === "webgpu" || error.fault !== "device") throw error;
      }
    }
    return new Nijimi().#load(file, "cpu");
  }

  async #load(source, backend) {
    let info;
    if (inNode) {
      try {
        ({ info, ...this.#model } = await open(source, backend));
      } catch (error) {
        throw NijimiError.of(error);
      }
    } else {
      this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
      const { port1, port2 } = new MessageChannel();
      const answer = receiver(port1);
      const failed = new Promise((resolve) => {
        this.#worker.onerror = ({ message }) =>
          resolve({ error: { message: `the package's worker.js cannot be run: ${message ?? "not found"}`, fault: "internal" } });
      });
      this.#worker.postMessage({ source, backend, port: port2 }, [port2]);
      const { error, info: told } = await Promise.race([answer(), failed]);
      port1.close();
      if (error) {
        this.#worker.terminate();
        throw new NijimiError(error.message, error.fault);
      }
      info = told;
    }
    Object.assign(this, info, { backend });
    return this;
  }

  /** Draws a picture, step by step: see index.d.ts. */
  async *draw(prompt, { signal, ...options } = {}) {
    if (typeof prompt !== "string") throw request("the prompt", prompt, "a string");
    const drawing = { prompt, wish: checked(options) };
    const signals = [this.#closing.signal, ...(signal ? [signal] : [])];
    for (const signal of signals) signal.throwIfAborted();
    let stop;
    const aborted = new Promise((_, reject) => (stop = ({ target }) => reject(target.reason)));
    aborted.catch(() => {});
    for (const signal of signals) signal.addEventListener("abort", stop);
    const { port1: port, port2: far } = new MessageChannel();
    const receive = receiver(port);
    const next = async () => {
      const message = await Promise.race([receive(), aborted]);
      if (message.error) throw new NijimiError(message.error.message, message.error.fault);
      return message;
    };
    const pixels = async ({ width, height }) => {
      port.postMessage("pixels");
      const { rgba } = await next();
      await next();
      return new Picture(width, height, new Uint8ClampedArray(rgba.buffer));
    };
    if (this.#worker) this.#worker.postMessage({ drawing, port: far }, [far]);
    else this.#served = Promise.all([this.#served, serve(this.#model, drawing, far)]);
    let step;
    try {
      for (let told = await next(); told.step; told = await next()) {
        step = new Step(told.step, () => pixels(told.step));
        yield step;
        await step.leave();
        for (const signal of signals) signal.throwIfAborted();
        port.postMessage("next");
      }
    } finally {
      await step?.leave();
      for (const signal of signals) signal.removeEventListener("abort", stop);
      port.postMessage("stop");
      port.close();
    }
  }

  /** Draws a picture at once. */
  async picture(prompt, options) {
    for await (const step of this.draw(prompt, options)) {
      if (step.done) return step.pixels();
    }
  }

  /** Gives the model's memory back. */
  close() {
    this.#closing.abort(new NijimiError("the model is closed: open it again", "request"));
    this.#worker?.terminate();
    const model = this.#model;
    this.#model = undefined;
    if (model) this.#served.then(() => model.engine.free());
  }
}

/** An address that a worker can read, or bytes. */
function readable(source) {
  if (source instanceof URL) return source.href;
  if (typeof source === "string") return inNode ? source : new URL(source, document.baseURI).href;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (source instanceof Uint8Array) return source;
  throw request("the model", source, "an address, a path (in Node), an ArrayBuffer or a Uint8Array");
}

async function adapter() {
  try {
    return (await globalThis.navigator?.gpu?.requestAdapter()) ?? null;
  } catch {
    return null;
  }
}

const isSoftware = (adapter) => adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false;

/** Options of a drawing, each of its kind: WebAssembly would take anything for a number. */
function checked({ seed = 0, steps, guidanceScale, negativePrompt, solver, width, height, ...others }) {
  known(others, "draw");
  const whole = (n, least, most) => n === undefined || (Number.isInteger(n) && n >= least && n <= most);
  const text = (s) => s === undefined || typeof s === "string";
  const isSeed = typeof seed === "bigint" ? BigInt.asUintN(64, seed) === seed : whole(seed, 0, Number.MAX_SAFE_INTEGER);
  if (!isSeed) throw request("seed", seed, `a whole number from 0 to ${Number.MAX_SAFE_INTEGER}, or a BigInt below 2^64`);
  for (const [name, n] of Object.entries({ steps, width, height })) {
    if (!whole(n, 1, 65536)) throw request(name, n, "a whole number from 1 to 65536");
  }
  for (const [name, s] of Object.entries({ negativePrompt, solver })) if (!text(s)) throw request(name, s, "a string");
  if (guidanceScale !== undefined && !Number.isFinite(guidanceScale)) {
    throw request("guidanceScale", guidanceScale, "a finite number");
  }
  return { seed, steps, guidanceScale, negativePrompt, solver, width, height };
}

function known(others, of) {
  const [name] = Object.keys(others);
  if (name !== undefined) throw new NijimiError(`${of} knows no option ${JSON.stringify(name)}: see index.d.ts`, "request");
}

function request(what, found, expected) {
  const shown = typeof found === "string" ? JSON.stringify(found) : String(found);
  return new NijimiError(`${what} is ${shown}, must be ${expected}`, "request");
}
