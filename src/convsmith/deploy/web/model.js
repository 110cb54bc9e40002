/** The model, run by onnxruntime-web. */
import { isOffline, loadModule, readFile } from "./files.js";

const MOST_THREADS = 4;

/**
 * Load the runtime and the model.
 *
 * Where the page is isolated by the headers COOP and COEP, several threads run it, else one.
 *
 * @returns {Promise<(pixels: Uint8Array, shape: number[]) => Promise<{data: Float32Array, dims: number[]}>>} gives logits
 *   of images `[N, channels, height, width]`
 */
export async function openModel() {
  const [runtime, program, model] = await Promise.all([
    loadModule("onnxruntime-web.js"),
    readFile("onnxruntime-web.wasm"),
    readFile("model.onnx"),
  ]);
  runtime.env.wasm.wasmBinary = program;
  runtime.env.wasm.numThreads = threads();
  runtime.env.wasm.proxy = !isOffline; // in a worker, so that the page hears people meanwhile; of a disk there is none
  const session = await runtime.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return async (pixels, shape) => {
    const images = new runtime.Tensor("uint8", pixels.slice(), shape); // a worker takes the memory for itself
    const { logits } = await session.run({ images });
    return logits;
  };
}

/** How many threads run the model. */
export function threads() {
  return globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
}
