import { EngineError } from "@longshore/errors";
import { exists, readlink, writeFile } from "@longshore/syscalls";
import { type Command, type Globals, idOf } from "../command.ts";
import { CRIU_FLAGS, directoriesOf, externalNamespaces, invalid, runCriu, sharedArguments } from "../criu.ts";
import type { Parsed } from "../flags.ts";
import { destroy } from "../lifecycle.ts";
import { restore } from "../restore.ts";
import { savedSpec } from "../saved-spec.ts";
import { Container } from "../state.ts";

export { runtime } from "../runtime.ts";

function pageServer(address: string): string[] {
  const colon = address.lastIndexOf(":");
  const port = address.slice(colon + 1);
  if (colon <= 0 || port === "") throw invalid("Use --page-server ADDRESS:PORT to specify page server");
  if (!/^\d+$/.test(port)) throw invalid("Invalid port number");
  return ["--page-server", "--address", address.slice(0, colon), "--port", port];
}

function parentImage(path: string, image: string): string[] {
  if (path.startsWith("/")) throw invalid("--parent-path must be relative");
  const parent = `${image}/${path}`;
  if (!exists(parent)) {
    throw invalid(`invalid --parent-path: stat ${parent}: no such file or directory`);
  }
  return ["--prev-images-dir", path, "--track-mem"];
}

function checkpoint(parsed: Parsed, { root, criu }: Globals): number {
  const { values, switches } = parsed;
  const container = Container.load(root, idOf(parsed));
  const { status, saved, group } = container;
  if (status !== "running" && status !== "paused") {
    throw new EngineError("failed_precondition", `Container cannot be checkpointed in ${status} state`);
  }
  const spec = savedSpec(container);
  const directories = directoriesOf(parsed);
  const preDump = switches.has("pre-dump");
  const args = sharedArguments(parsed, directories, spec);
  args.push("--tree", String(saved.pid), "--root", saved.rootfs, ...externalNamespaces(spec));
  const parent = values.get("parent-path");
  if (parent) args.push(...parentImage(parent, directories.image));
  const server = values.get("page-server");
  if (server) args.push(...pageServer(server));
  if (Number(values.get("status-fd") ?? -1) >= 0) args.push("--status-fd", values.get("status-fd") ?? "");
  const freezer = group.pathOf("freezer");
  if (freezer !== undefined) args.push("--freeze-cgroup", freezer);
  if (!preDump) {
    for (const { destination, type, options = [] } of spec.mounts ?? []) {
      if (type === "bind" || options.includes("bind") || options.includes("rbind")) {
        args.push("--external", `mnt[${destination}]:${destination}`);
      }
    }
    for (const path of spec.linux?.maskedPaths ?? []) args.push("--external", `mnt[${path}]:/dev/null`);
  }
  // Which pipes the process has as its streams; a restore gives it others in their place.
  const streams = [0, 1, 2].map((fd) => streamOf(saved.pid, fd));
  runCriu(criu, { command: preDump ? "pre-dump" : "dump", args, log: "dump.log", directories });
  if (preDump) return 0;
  writeFile(`${directories.image}/descriptors.json`, JSON.stringify(streams), { mode: 0o600 });
  if (!switches.has("leave-running")) destroy(container);
  return 0;
}

function streamOf(pid: number, fd: number): string {
  try {
    return readlink(`/proc/${pid}/fd/${fd}`);
  } catch {
    return ""; // closed
  }
}

export const commands: Record<string, Command> = {
  checkpoint: {
    flags: {
      ...CRIU_FLAGS,
      "parent-path": "value",
      "leave-running": "switch",
      "tcp-skip-in-flight": "switch",
      "link-remap": "switch",
      "status-fd": "number",
      "page-server": "value",
      "pre-dump": "switch",
    },
    args: [1, 1],
    usage: "save a running container to files (needs criu)",
    run: checkpoint,
  },
  restore: {
    flags: {
      ...CRIU_FLAGS,
      "console-socket": "value",
      bundle: "value",
      detach: "switch",
      "pid-file": "value",
      "no-subreaper": "switch",
      "no-pivot": "switch",
      "lsm-profile": "value",
      "lsm-mount-context": "value",
    },
    aliases: { b: "bundle", d: "detach" },
    args: [1, 1],
    usage: "make a container from such files and let it go on (needs criu)",
    run: restore,
  },
};
