import { expect } from "bun:test";
import { spawnSync } from "node:child_process";
import type { World } from "../world.ts";

/** What the tests of volumes have together. */
export interface VolumesScene {
  world(): World;
  /** A directory of theirs. */
  dir(): string;
}

/** An image with files where it has a volume, and a link that would lead out of it. */
export const FILLED = "filled:1";

export function must(...words: [string, ...string[]]): void {
  const { status, stderr } = spawnSync(words[0], words.slice(1), { encoding: "utf8" });
  expect({ words, status, stderr }).toEqual({ words, status: 0, stderr: "" });
}
