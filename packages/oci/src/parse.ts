import { EngineError } from "@longshore/errors";
import { array, boolean, type Check, integer, object, oneOf, record, string, unsupported } from "./check.ts";
import { HOOK_NAMES, NAMESPACE_TYPES, type Process, type Resources, type Spec } from "./spec.ts";

const strings = array(string);
const uint32 = integer(0, 0xffffffff);
const uint16 = integer(0, 0xffff);
const natural = integer(0);
const whole = integer();

// Ids are 31-bit where it matters: a bigger number is a negative one to some of those who read it (CVE-2024-40635).
const id = integer(0, 0x7fffffff);

const processCheck = object(
  {
    terminal: boolean,
    consoleSize: object({ height: uint16, width: uint16 }),
    user: object({ uid: id, gid: id, umask: integer(0, 0o777), additionalGids: array(id) }),
    args: strings,
    env: strings,
    cwd: string,
    capabilities: object({
      bounding: strings,
      effective: strings,
      inheritable: strings,
      permitted: strings,
      ambient: strings,
    }),
    rlimits: array(object({ type: string, soft: natural, hard: natural }, ["type"])),
    noNewPrivileges: boolean,
    // Checked against the kernel where it is applied: engines send it as soon as they believe it is there.
    apparmorProfile: string,
    selinuxLabel: string,
    oomScoreAdj: integer(-1000, 1000),
    scheduler: object(
      {
        policy: string,
        nice: whole,
        priority: whole,
        flags: strings,
        runtime: natural,
        deadline: natural,
        period: natural,
      },
      ["policy"],
    ),
    ioPriority: object({ class: string, priority: whole }, ["class"]),
    execCPUAffinity: object({ initial: string, final: string }),
  },
  ["cwd"],
);

const mapping = object({ containerID: uint32, hostID: uint32, size: uint32 }, [
  "containerID",
  "hostID",
  "size",
]);
const timeOffset = object({ secs: whole, nanosecs: integer(0, 999_999_999) });
const throttle = array(object({ major: whole, minor: whole, rate: natural }));
const weight = array(object({ major: whole, minor: whole, weight: uint16, leafWeight: uint16 }));

const resourcesCheck = object({
  devices: array(
    object({ allow: boolean, type: oneOf("", "a", "b", "c"), major: whole, minor: whole, access: string }),
  ),
  memory: object({
    limit: whole,
    reservation: whole,
    swap: whole,
    kernel: whole,
    kernelTCP: whole,
    swappiness: natural,
    disableOOMKiller: boolean,
    useHierarchy: boolean,
    checkBeforeUpdate: boolean,
  }),
  cpu: object({
    shares: natural,
    quota: whole,
    burst: natural,
    period: natural,
    realtimeRuntime: whole,
    realtimePeriod: natural,
    cpus: string,
    mems: string,
    idle: whole,
  }),
  pids: object({ limit: whole }),
  blockIO: object({
    weight: uint16,
    leafWeight: uint16,
    weightDevice: weight,
    throttleReadBpsDevice: throttle,
    throttleWriteBpsDevice: throttle,
    throttleReadIOPSDevice: throttle,
    throttleWriteIOPSDevice: throttle,
  }),
  hugepageLimits: array(object({ pageSize: string, limit: natural }, ["pageSize", "limit"])),
  network: object({
    classID: uint32,
    priorities: array(object({ name: string, priority: uint32 }, ["name", "priority"])),
  }),
  rdma: record(object({ hcaHandles: uint32, hcaObjects: uint32 })),
  unified: record(string),
});

const seccompCheck = object(
  {
    defaultAction: string,
    defaultErrnoRet: uint32,
    architectures: strings,
    flags: strings,
    listenerPath: string,
    listenerMetadata: string,
    syscalls: array(
      object(
        {
          names: strings,
          action: string,
          errnoRet: uint32,
          args: array(
            object({ index: integer(0, 5), value: natural, valueTwo: natural, op: string }, [
              "index",
              "value",
              "op",
            ]),
          ),
        },
        ["names", "action"],
      ),
    ),
  },
  ["defaultAction"],
);

const hook = object({ path: string, args: strings, env: strings, timeout: integer(1) }, ["path"]);

const device = object(
  {
    path: string,
    type: oneOf("c", "u", "b", "p"),
    major: whole,
    minor: whole,
    fileMode: integer(0, 0o7777),
    uid: uint32,
    gid: uint32,
  },
  ["path", "type"],
);

const specCheck: Check = object(
  {
    ociVersion: string,
    process: processCheck,
    root: object({ path: string, readonly: boolean }, ["path"]),
    hostname: string,
    domainname: string,
    mounts: array(
      object(
        {
          destination: string,
          type: string,
          source: string,
          options: strings,
          uidMappings: array(mapping),
          gidMappings: array(mapping),
        },
        ["destination"],
      ),
    ),
    hooks: object(Object.fromEntries(HOOK_NAMES.map((name) => [name, array(hook)]))),
    annotations: record(string),
    linux: object({
      uidMappings: array(mapping),
      gidMappings: array(mapping),
      sysctl: record(string),
      resources: resourcesCheck,
      cgroupsPath: string,
      namespaces: array(object({ type: oneOf(...NAMESPACE_TYPES), path: string }, ["type"])),
      devices: array(device),
      netDevices: record(object({ name: string })),
      seccomp: seccompCheck,
      rootfsPropagation: oneOf(
        "",
        "private",
        "rprivate",
        "slave",
        "rslave",
        "shared",
        "rshared",
        "unbindable",
        "runbindable",
      ),
      maskedPaths: strings,
      readonlyPaths: strings,
      mountLabel: string,
      intelRdt: object({
        closID: string,
        schemata: strings,
        l3CacheSchema: string,
        memBwSchema: string,
        enableMonitoring: boolean,
        // Of specification 1.2; 1.3 has enableMonitoring in their place.
        enableCMT: boolean,
        enableMBM: boolean,
      }),
      memoryPolicy: object({ mode: string, nodes: string, flags: strings }, ["mode"]),
      personality: object({ domain: string, flags: strings }, ["domain"]),
      timeOffsets: object({ monotonic: timeOffset, boottime: timeOffset }),
    }),
    solaris: unsupported,
    windows: unsupported,
    vm: unsupported,
    zos: unsupported,
    freebsd: unsupported,
  },
  ["ociVersion"],
);

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new EngineError("invalid_argument", `${what} is not JSON: ${why}`, { cause: error });
  }
}

/**
 * A `config.json`.
 *
 * @throws EngineError `invalid_argument` or `unimplemented`, naming the field
 */
export function parseSpec(text: string): Spec {
  const spec = parse(text, "config.json");
  specCheck(spec, "");
  return spec as Spec;
}

/** The `process` object alone, as `exec --process` takes it. */
export function parseProcess(text: string): Process {
  const process = parse(text, "the process file");
  processCheck(process, "process");
  return process as Process;
}

/** The `resources` object alone, as `update --resources` takes it. */
export function parseResources(text: string): Resources {
  const resources = parse(text, "the resources file");
  resourcesCheck(resources, "resources");
  return resources as Resources;
}
