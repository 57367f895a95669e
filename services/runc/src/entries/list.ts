import { UsageError } from "@longshore/cli";
import { EngineError } from "@longshore/errors";
import { exists, readTextIfExists, stat, writeAll } from "@longshore/syscalls";
import { type Command, type Globals, MANY, print } from "../command.ts";
import type { Parsed } from "../flags.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

/** Columns of text, as Go's tabwriter with a minimum of 12 and padding 3 prints them. */
function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(12, ...rows.map((row) => (row[column] ?? "").length + 3)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
        .join(""),
    )
    .map((line) => `${line}\n`)
    .join("");
}

function formatOf(parsed: Parsed): "table" | "json" {
  const format = parsed.values.get("format") ?? "table";
  if (format !== "table" && format !== "json") throw new UsageError("invalid format option");
  return format;
}

/** All containers that can be read; the others are told about. */
function containersBelow(root: string): Container[] {
  if (!exists(root)) return [];
  const containers: Container[] = [];
  for (const id of Container.ids(root)) {
    try {
      containers.push(Container.load(root, id));
    } catch (error) {
      writeAll(2, `load container ${id}: ${error instanceof Error ? error.message : String(error)}\n`);
    }
  }
  return containers;
}

function list(parsed: Parsed, { root }: Globals): number {
  const containers = containersBelow(root);
  if (parsed.switches.has("quiet")) {
    print(containers.map(({ saved }) => `${saved.id}\n`).join(""));
    return 0;
  }
  const states = containers.map((container) => {
    const { ociVersion, id, pid, status, bundle, annotations } = container.ociState();
    const { rootfs, created } = container.saved;
    const owner = ownerName(stat(container.directory).uid);
    return {
      ociVersion,
      id,
      pid,
      status,
      bundle,
      rootfs,
      created,
      ...(annotations ? { annotations } : {}),
      owner,
    };
  });
  if (formatOf(parsed) === "json") {
    print(`${JSON.stringify(states.length === 0 ? null : states)}\n`);
    return 0;
  }
  const rows = states.map(({ id, pid, status, bundle, created, owner }) => [
    id,
    String(pid),
    status,
    bundle,
    created,
    owner,
  ]);
  print(table([["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], ...rows]));
  return 0;
}

function ownerName(uid: number): string {
  for (const line of (readTextIfExists("/etc/passwd") ?? "").split("\n")) {
    const [name, , id] = line.split(":");
    if (id === String(uid) && name) return name;
  }
  return `#${uid}`;
}

function ps(parsed: Parsed, { root }: Globals): number {
  const [id = "", ...options] = parsed.args;
  const container = Container.load(root, id);
  const pids = container.group.processes();
  if (formatOf(parsed) === "json") {
    print(`${JSON.stringify(pids)}\n`);
    return 0;
  }
  const result = Bun.spawnSync(["ps", ...(options.length > 0 ? options : ["-ef"])]);
  if (!result.success) throw new EngineError("internal", `ps: ${result.stderr.toString().trim()}`);
  const [header = "", ...lines] = result.stdout.toString().split("\n");
  const column = header.trim().split(/\s+/).indexOf("PID");
  if (column < 0) throw new EngineError("internal", "couldn't find PID field in ps output");
  const wanted = new Set(pids.map(String));
  const shown = lines.filter((line) => wanted.has(line.trim().split(/\s+/)[column] ?? ""));
  print([header, ...shown].map((line) => `${line}\n`).join(""));
  return 0;
}

export const commands: Record<string, Command> = {
  list: {
    flags: { format: "value", quiet: "switch" },
    aliases: { f: "format", q: "quiet" },
    args: [0, 0],
    usage: "print all containers below the root directory",
    run: list,
  },
  ps: {
    flags: { format: "value" },
    aliases: { f: "format" },
    args: [1, MANY],
    usage: "print the processes of a container",
    run: ps,
  },
};
