import { type EventMessage, eventMessage } from "../plugin.ts";

/** An event about images: their messages are not in the package that all others are in. */
export function imageEvent<T>(
  name: "ImageCreate" | "ImageUpdate" | "ImageDelete",
  type: Parameters<typeof eventMessage<T>>[1],
  message: T,
): EventMessage {
  return eventMessage(`containerd.services.images.v1.${name}`, type, message);
}
