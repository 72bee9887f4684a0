// Holds a model, so that the page stays alive while it draws.

import { NijimiError, open, serve } from "./engine.js";

let model;

addEventListener("message", async ({ data: { source, backend, drawing, port } }) => {
  if (drawing) return serve(model, drawing, port);
  try {
    model = await open(source, backend);
    port.postMessage({ info: model.info });
  } catch (error) {
    const { message, fault } = NijimiError.of(error);
    port.postMessage({ error: { message, fault } });
  }
});
