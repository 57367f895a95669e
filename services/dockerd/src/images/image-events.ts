import type { Engine } from "../engine.ts";
import type { Image } from "./image.ts";

/** What happens to an image, in Docker's words. */
export type ImageAction =
  | "create"
  | "delete"
  | "import"
  | "load"
  | "pull"
  | "push"
  | "save"
  | "tag"
  | "untag";

/** Tell what has happened to an image, with its labels, by which listeners may choose. */
export function emitImageEvent(
  engine: Engine,
  image: Pick<Image, "id" | "config">,
  action: ImageAction,
  { name = image.id, actor = image.id }: { name?: string; actor?: string } = {},
): void {
  const labels = image.config.config?.Labels ?? {};
  engine.events.emit("image", action, actor, { ...labels, name });
}
