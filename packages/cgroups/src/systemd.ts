import { EngineError, isErrno } from "@longshore/errors";
import type { Resources } from "@longshore/oci";
import { exists } from "@longshore/syscalls";
import { makeDirectories } from "./create-group.ts";
import { DBus, DBusError } from "./dbus.ts";
import type { Value } from "./dbus-message.ts";
import { Group } from "./group.ts";
import { hierarchies } from "./hierarchies.ts";
import { type Property, property, unitProperties } from "./unit-properties.ts";

export { annotatedProperties } from "./unit-properties.ts";

// Cgroups through systemd: it makes a transient scope with a process in it, and knows its limits, so that its next reload doesn't undo
// them. What it has no property for is written to the control files as without it.

const SYSTEMD = {
  destination: "org.freedesktop.systemd1",
  path: "/org/freedesktop/systemd1",
  interface: "org.freedesktop.systemd1.Manager",
};

/** Where the process of a container is to be, from `slice:prefix:name`. */
export interface Unit {
  slice: string;
  /** `prefix-name.scope`, or the name itself when it is a slice. */
  name: string;
  /** The container's name alone, for the description. */
  container: string;
}

/** @throws EngineError in the original's words */
export function requireSystemd(): void {
  if (!exists("/run/systemd/system")) {
    const message = "systemd not running on this host, cannot use systemd cgroups manager";
    throw new EngineError("unimplemented", message);
  }
}

/** Read `linux.cgroupsPath` as it is with `--systemd-cgroup`. */
export function parseUnit(cgroupsPath: string | undefined, id: string): Unit {
  if (!cgroupsPath) return { slice: "system.slice", name: `runc-${id}.scope`, container: id };
  const [slice, prefix, container, more] = cgroupsPath.split(":");
  if (slice === undefined || prefix === undefined || container === undefined || more !== undefined) {
    const format = 'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups';
    throw new EngineError("invalid_argument", `${format}, got ${JSON.stringify(cgroupsPath)} instead`);
  }
  const name = container.endsWith(".slice") ? container : `${prefix}-${container}.scope`;
  return { slice: slice || "system.slice", name, container };
}

/** The path of a slice in the hierarchy: `a-b.slice` is `/a.slice/a-b.slice`. */
export function expandSlice(slice: string): string {
  if (slice === "-.slice") return "";
  const stem = slice.endsWith(".slice") ? slice.slice(0, -".slice".length) : "";
  const parts = stem.split("-");
  if (stem === "" || slice.includes("/") || parts.includes("")) {
    throw new EngineError("invalid_argument", `invalid slice name: ${slice}`);
  }
  return parts.map((_, index) => `/${parts.slice(0, index + 1).join("-")}.slice`).join("");
}

/** The cgroup that a unit will have, before it is started. */
export function unitGroup(unit: Unit): Group {
  const path = `${expandSlice(unit.slice)}/${unit.name}`;
  if (path.includes("/../") || unit.name.includes("/")) {
    throw new EngineError("invalid_argument", `invalid unit name: ${unit.name}`);
  }
  const directories = hierarchies().map(({ version, controllers, mountpoint }) => ({
    version,
    controllers,
    path: mountpoint + path,
  }));
  return new Group(directories, unit.name);
}

/** Connect to the service manager itself where we may, otherwise through the bus. @throws EngineError `unavailable` */
function connect(): DBus {
  const sockets: [path: string, bus: boolean][] = [
    ["/run/systemd/private", false],
    ["/run/dbus/system_bus_socket", true],
  ];
  let last: unknown;
  for (const [path, bus] of sockets) {
    try {
      return DBus.connect(path, { bus });
    } catch (error) {
      if (!isErrno(error, "ENOENT", "ECONNREFUSED", "EACCES", "EPERM")) throw error;
      last = error;
    }
  }
  const why = last instanceof Error ? last.message : String(last);
  throw new EngineError("unavailable", `unable to connect to systemd: ${why}`, { cause: last });
}

/** Run a job and wait for its end: `done`, `failed`, `timeout`, … */
function job(bus: DBus, member: string, signature: string, body: Value[]): string {
  bus.call({ ...SYSTEMD, member: "Subscribe" });
  const [path] = bus.call({ ...SYSTEMD, member, signature, body });
  const removed = bus.signal((message) => message.member === "JobRemoved" && message.body[1] === path);
  return String(removed.body[3]);
}

export interface UnitStart {
  unit: Unit;
  pid: number;
  unified: boolean;
  /** Of the annotations. */
  properties: readonly Property[];
}

/** Start the transient unit with a process in it. @throws EngineError */
export function startUnit(group: Group, { unit, pid, unified, properties }: UnitStart): void {
  using bus = connect();
  const place = unit.name.endsWith(".slice")
    ? [property("Wants", "as", [unit.slice])]
    : [property("Slice", "s", unit.slice), property("Delegate", "b", true)];
  const accounting = ["Memory", "CPU", unified ? "IO" : "BlockIO", "Tasks"];
  const all: Value[] = [
    property("Description", "s", `libcontainer container ${unit.container}`),
    ...place,
    property("PIDs", "au", [pid]),
    ...accounting.map((name) => property(`${name}Accounting`, "b", true)),
    property("DefaultDependencies", "b", false),
    ...properties,
  ];
  const start = () => job(bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", [unit.name, "replace", all, []]);
  const result = startAgain(bus, unit.name, start);
  if (result !== "done") {
    resetFailed(bus, unit.name);
    throw new EngineError("internal", `error creating systemd unit \`${unit.name}\`: got \`${result}\``);
  }
  // Hierarchies that systemd doesn't manage.
  makeDirectories(group, hierarchies());
}

/** Start, once more where a unit of the name has failed and stays for that: it can be forgotten. */
function startAgain(bus: DBus, name: string, start: () => string): string {
  const failure = (error: unknown) => {
    const why = error instanceof Error ? error.message : String(error);
    return new EngineError("internal", `unable to start unit ${JSON.stringify(name)}: ${why}`, {
      cause: error,
    });
  };
  try {
    return start();
  } catch (error) {
    if (!(error instanceof DBusError)) throw error;
    if (!error.error.includes("UnitExists")) throw failure(error);
  }
  resetFailed(bus, name);
  try {
    return start();
  } catch (error) {
    throw failure(error);
  }
}

function resetFailed(bus: DBus, name: string): void {
  try {
    bus.call({ ...SYSTEMD, member: "ResetFailedUnit", signature: "s", body: [name] });
  } catch (error) {
    // It isn't loaded, which is what we want.
    if (!(error instanceof DBusError)) throw error;
  }
}

/** Tell systemd new limits, as far as it has properties for them. */
export function setUnitLimits(group: Group, resources: Resources): void {
  const properties = unitProperties(resources, group.unified);
  if (properties.length === 0) return;
  using bus = connect();
  try {
    const body = [group.unit ?? "", true, properties];
    bus.call({ ...SYSTEMD, member: "SetUnitProperties", signature: "sba(sv)", body });
  } catch (error) {
    if (!(error instanceof DBusError)) throw error;
    throw new EngineError("internal", `unable to set properties of ${group.unit}: ${error.message}`, {
      cause: error,
    });
  }
}

/** Stop a unit; one that is gone already is what we want. */
export function stopUnit(name: string): void {
  using bus = connect();
  try {
    job(bus, "StopUnit", "ss", [name, "replace"]);
  } catch (error) {
    if (!(error instanceof DBusError)) throw error;
  }
  resetFailed(bus, name);
}
