// A model in WebAssembly, and the drawing on it: in a worker in browsers, in place in Node.

export const inNode = typeof process !== "undefined" && Boolean(process.versions?.node);

/** What went wrong, and whose fault it is. */
export class NijimiError extends Error {
  constructor(message, fault) {
    super(message);
    this.name = "NijimiError";
    this.fault = fault;
  }

  /** Of anything that was thrown; what crosses to another thread loses all but its message. */
  static of(error) {
    if (error instanceof NijimiError) return error;
    const stopped = error instanceof WebAssembly.RuntimeError ? "the runtime stopped, perhaps for want of memory: " : "";
    return new NijimiError(`${stopped}${error?.message ?? error}`, error?.fault ?? "internal");
  }
}

/** The bytes of a file: those given, or those at an address, or in Node at a path. */
async function read(source) {
  if (typeof source !== "string") return source;
  try {
    if (inNode && !/^(https?|data|blob):/.test(source)) {
      const { readFile } = await import("node:fs/promises");
      return await readFile(source.startsWith("file:") ? new URL(source) : source);
    }
    const response = await fetch(source);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`.trim());
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    throw new NijimiError(`${source}: ${error.message}`, "input");
  }
}

/** Loads a model. @param {"cpu" | "webgpu"} backend */
export async function open(source, backend) {
  const bytes = await read(source);
  const wasm = await (backend === "webgpu" ? import("./webgpu/nijimi.js") : import("./cpu/nijimi.js"));
  if (inNode) {
    const { readFile } = await import("node:fs/promises");
    await wasm.default({ module_or_path: await readFile(new URL("./cpu/nijimi_bg.wasm", import.meta.url)) });
  } else {
    await wasm.default();
  }
  const engine = await (backend === "webgpu" ? wasm.Engine.open_webgpu(bytes) : wasm.Engine.open(bytes));
  const { name, device, labels, steps, guidanceScale } = engine;
  const [width, height] = engine.size;
  return { engine, Wish: wasm.Wish, info: { name, device, labels, steps, guidanceScale, width, height } };
}

/**
 * Draws for who holds the other end of `port`. It is told of each step, and says `"next"`, `"pixels"` (which sends the
 * picture, and then tells of the step again) or `"stop"`.
 */
export async function serve({ engine, Wish }, { prompt, wish }, port) {
  const receive = receiver(port);
  const ask = (index, total, width, height) => {
    port.postMessage({ step: { index, total, width, height } });
    return receive();
  };
  const show = (rgba) => port.postMessage({ rgba }, [rgba.buffer]);
  try {
    const { seed, negativePrompt, steps, guidanceScale, solver, width, height } = wish;
    const asked = new Wish(BigInt(seed), negativePrompt, steps, guidanceScale, solver, width, height);
    await engine.draw(prompt, asked, ask, show);
    port.postMessage({ done: true });
  } catch (error) {
    const { message, fault } = NijimiError.of(error);
    port.postMessage({ error: { message, fault } });
  }
}

/** A function that returns promises of the messages of a port, one after the other. */
export function receiver(port) {
  const [got, waiting] = [[], []];
  port.onmessage = ({ data }) => (waiting.length ? waiting.shift()(data) : got.push(data));
  return () => (got.length ? Promise.resolve(got.shift()) : new Promise((resolve) => waiting.push(resolve)));
}
