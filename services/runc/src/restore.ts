import { EngineError } from "@longshore/errors";
import { parseSpec, type Spec } from "@longshore/oci";
import {
  exists,
  MNT_DETACH,
  MS_BIND,
  MS_REC,
  mkdir,
  mount,
  PR_SET_CHILD_SUBREAPER,
  prctl,
  readText,
  rmdir,
  umount2,
  writeFile,
} from "@longshore/syscalls";
import { absolute, type Globals, idOf } from "./command.ts";
import { planContainerGroup } from "./container-group.ts";
import {
  type Directories,
  directoriesOf,
  inheritedNamespaces,
  invalid,
  runCriu,
  sharedArguments,
} from "./criu.ts";
import type { Parsed } from "./flags.ts";
import { Attachment } from "./foreground.ts";
import { deleteContainer } from "./lifecycle.ts";
import { writePidFile } from "./process-setup.ts";
import { removeGroup } from "./remove-group.ts";
import { Container, processStat, removeDirectory, type SavedState, saveState } from "./state.ts";

/** What is bound into the container, from where it is now. */
function externalMounts(spec: Spec): string[] {
  const binds = (spec.mounts ?? []).filter(
    ({ type, options = [] }) => type === "bind" || options.includes("bind") || options.includes("rbind"),
  );
  return [
    ...binds.flatMap(({ destination, source = "" }) => ["--external", `mnt[${destination}]:${source}`]),
    ...["--external", "mnt[/dev/null]:/dev/null"],
  ];
}

/** Our own streams in the place of the pipes that the process had. */
function inheritedStreams({ image }: Directories): string[] {
  const file = `${image}/descriptors.json`;
  if (!exists(file)) throw invalid(`open ${file}: no such file or directory`);
  const streams = JSON.parse(readText(file)) as string[];
  return streams.flatMap((stream, fd) => {
    const pipe = /^pipe:\[(\d+)\]$/.exec(stream);
    return pipe ? ["--inherit-fd", `fd[${fd}]:pipe[${pipe[1]}]`] : [];
  });
}

/** `runc restore`: everything around the process is made as by `create`, the process itself by criu. */
export function restore(parsed: Parsed, globals: Globals): number {
  const { values, switches } = parsed;
  const bundle = absolute(values.get("bundle") ?? process.cwd());
  const spec = parseSpec(readText(`${bundle}/config.json`));
  if (spec.process?.terminal === true || values.get("console-socket")) {
    throw new EngineError("unimplemented", "restore of a container with a terminal is not supported");
  }
  if (switches.has("no-pivot")) throw new EngineError("unimplemented", "restore --no-pivot is not supported");
  if (globals.systemdCgroup) {
    throw new EngineError("unimplemented", "restore with --systemd-cgroup is not supported");
  }
  const directories = directoriesOf(parsed);
  const shared = sharedArguments(parsed, directories, spec);
  const detach = switches.has("detach");
  if (!switches.has("no-subreaper")) prctl(PR_SET_CHILD_SUBREAPER, 1);
  const begin = () => {
    const pid = restoreInto({ parsed, globals, bundle, spec, directories, shared });
    const pidFile = values.get("pid-file");
    if (pidFile) writePidFile(absolute(pidFile), pid);
    return pid;
  };
  if (detach) {
    begin();
    return 0;
  }
  using attachment = new Attachment();
  attachment.prepare(false);
  const pid = begin();
  attachment.started();
  const status = attachment.wait(pid);
  deleteContainer(globals.root, idOf(parsed), true);
  return status;
}

interface Restore {
  parsed: Parsed;
  globals: Globals;
  bundle: string;
  spec: Spec;
  directories: Directories;
  shared: string[];
}

function restoreInto({ parsed, globals, bundle, spec, directories, shared }: Restore): number {
  const id = idOf(parsed);
  const { values } = parsed;
  const directory = Container.claim(globals.root, id);
  const undo: (() => void)[] = [() => removeDirectory(directory)];
  try {
    const path = spec.root?.path ?? "rootfs";
    const rootfs = path.startsWith("/") ? path : `${bundle}/${path}`;
    writeFile(`${directory}/config.json`, JSON.stringify(spec), { mode: 0o600 });
    const { group, make } = planContainerGroup(spec, { id, throughSystemd: false });
    undo.push(() => removeGroup(group));
    const saved: SavedState = {
      id,
      bundle,
      pid: 0,
      startTime: "",
      created: new Date().toISOString(),
      rootfs,
      group: group.directories,
      ociVersion: spec.ociVersion,
      hooks: spec.hooks ?? {},
      annotations: spec.annotations ?? {},
      ownPidNamespace: spec.linux?.namespaces?.some(({ type, path: at }) => type === "pid" && !at) === true,
      noNewKeyring: false,
    };
    saveState(directory, saved);
    make();
    // criu wants a root that is a mount point, and not below one that is covered.
    const root = `${directory}/criu-root`;
    mkdir(root);
    undo.push(() => rmdir(root));
    mount({ source: rootfs, target: root, flags: MS_BIND | MS_REC });
    undo.push(() => umount2(root, MNT_DETACH));
    const pidFile = `${directory}/criu.pid`;
    const namespaces = inheritedNamespaces(spec);
    const label = (flag: string) => (values.get(flag) ? [`--${flag}`, values.get(flag) ?? ""] : []);
    const args = [
      ...shared,
      ...[
        "--restore-detached",
        "--restore-sibling",
        "--pidfile",
        pidFile,
        "--root",
        root,
        "--evasive-devices",
      ],
      ...externalMounts(spec),
      ...inheritedStreams(directories),
      ...namespaces.args,
      ...label("lsm-profile"),
      ...label("lsm-mount-context"),
    ];
    const criu = { command: "restore", args, log: "restore.log", directories };
    runCriu(globals.criu, criu, namespaces.fds);
    saved.pid = Number(readText(pidFile).trim());
    saved.startTime = processStat(saved.pid)?.startTime ?? "";
    umount2(root, MNT_DETACH);
    rmdir(root);
    saveState(directory, saved);
    return saved.pid;
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
}
