/** Where a model draws. */
export type Backend = "cpu" | "webgpu";

export interface OpenOptions {
  /**
   * `"auto"` (the default): WebGPU where there is a GPU for it, else the CPU. Pictures of the CPU are the same everywhere,
   * byte for byte; those of a GPU differ in a few values by little.
   */
  backend?: "auto" | Backend;
}

/** What is left out is as the model's file recommends. */
export interface DrawOptions {
  /** What the noise is drawn by: the same seed, the same picture. A whole number, or a BigInt below 2^64; 0 by default. */
  seed?: number | bigint;
  /** How many steps. */
  steps?: number;
  /** Strength of classifier-free guidance; 1 is none. */
  guidanceScale?: number;
  /** What the picture shall not show; for models that read prompts. */
  negativePrompt?: string;
  /** `"ddim"`, `"euler_a"`, `"dpm++2m"`, `"unipc"` and others; a wrong name is answered with all of them. */
  solver?: string;
  /** Pixels of a row; models of labels have one size. */
  width?: number;
  /** Rows. */
  height?: number;
  /** Ends the drawing, which then throws the signal's reason. */
  signal?: AbortSignal;
}

/** A picture. */
export class Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green, blue and opacity of each pixel, row by row from the top: `4 * width * height` bytes. */
  readonly data: Uint8ClampedArray<ArrayBuffer>;
  /** For `context.putImageData`; browsers alone have it. */
  toImageData(): ImageData;
}

/** A step that was made. */
export interface Step {
  /** Which, from 0. */
  readonly index: number;
  /** Of how many. */
  readonly total: number;
  /** Whether it was the last. */
  readonly done: boolean;
  /**
   * What the picture will be, as far as one can tell; of the last step, the picture. It is made when it is asked for, and must
   * be asked for before the next step.
   */
  pixels(): Promise<Picture>;
}

/**
 * Whose fault an error is: of what was asked for (`"request"`), of what was given, as a file or a label (`"input"`), of the
 * GPU (`"device"`), or of this package (`"internal"`).
 */
export type Fault = "request" | "input" | "device" | "internal";

/** What went wrong, where, and what to do. */
export class NijimiError extends Error {
  readonly name: "NijimiError";
  readonly fault: Fault;
}

/** A model in memory. */
export class Nijimi {
  private constructor();

  /**
   * Loads a model's `.gguf` file, from an address, in Node also from a path, or from its bytes, which are copied. In browsers
   * it then lives in a worker.
   */
  static open(source: string | URL | ArrayBuffer | Uint8Array, options?: OpenOptions): Promise<Nijimi>;

  /** Where it draws. */
  readonly backend: Backend;
  /** The same in words: the GPU's name, or "CPU". */
  readonly device: string;
  /** As the model's file says. */
  readonly name: string;
  /** What it can draw; empty of a model that reads prompts. */
  readonly labels: string[];
  /** Pixels of a row of its pictures. */
  readonly width: number;
  /** Rows of its pictures. */
  readonly height: number;
  /** How many steps suit it. */
  readonly steps: number;
  /** Which strength of guidance suits it. */
  readonly guidanceScale: number;

  /**
   * Draws a picture of a prompt, or of one of the labels, step by step. A step is made when it is asked for; who breaks the
   * loop ends the drawing.
   */
  draw(prompt: string, options?: DrawOptions): AsyncGenerator<Step, void, void>;

  /** Draws a picture at once. */
  picture(prompt: string, options?: DrawOptions): Promise<Picture>;

  /** Gives the model's memory back; drawings that are under way end with an error. */
  close(): void;
}
