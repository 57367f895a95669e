import type { World } from "./world.ts";

export interface Answer {
  status: number;
  /** The whole body as text. */
  body: string;
  /** Of an error, its `message`. */
  message: string;
}

/** One request to the Engine API, for what a docker client would never send or would hide. */
export async function api(world: World, method: string, path: string, body?: string): Promise<Answer> {
  const response = await fetch(`http://docker${path}`, {
    method,
    unix: world.engine.suite.paths.dockerSocket,
    ...(body !== undefined && { body, headers: { "content-type": "application/json" } }),
  });
  const text = await response.text();
  let message = "";
  try {
    message = (JSON.parse(text) as { message?: string }).message ?? "";
  } catch {
    // a stream of several objects, or no JSON
  }
  return { status: response.status, body: text, message };
}
