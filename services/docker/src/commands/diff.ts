import type { Command } from "../command.ts";
import { print } from "../io/output.ts";

const LETTERS: Readonly<Record<number, string>> = { 0: "C", 1: "A", 2: "D" };

export const diff: Command = {
  name: "docker diff",
  usage: "CONTAINER",
  summary: "Inspect changes to files or directories on a container's filesystem",
  arity: { min: 1, max: 1 },
  flags: [],
  async run({ client, args: [container = ""] }) {
    const path = `/containers/${encodeURIComponent(container)}/changes`;
    const changes = await client.json<{ Path: string; Kind: number }[] | null>({ path });
    for (const { Path, Kind } of changes ?? []) print(`${LETTERS[Kind] ?? "?"} ${Path}`);
    return 0;
  },
};
