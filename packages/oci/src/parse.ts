import {
  array,
  asObject,
  boolean,
  type Check,
  integer,
  object,
  oneOf,
  record,
  string,
  unsupported,
  wrong,
} from "./check.ts";
import { parseJson } from "./parse-json.ts";
import { processCheck } from "./parse-process.ts";
import { HOOK_NAMES, NAMESPACE_TYPES, type Resources, type Spec } from "./spec.ts";

const strings = array(string);
const uint32 = integer(0, 0xffffffff);
const uint16 = integer(0, 0xffff);
const natural = integer(0);
const whole = integer();

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

/** Looked for nowhere: what a name alone finds is the caller's environment's. */
const absolutePath: Check = (value, field) => {
  string(value, field);
  if (!String(value).startsWith("/")) wrong(field, "an absolute path");
};

const hook = object({ path: absolutePath, args: strings, env: strings, timeout: integer(1) }, ["path"]);

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

/**
 * A `config.json`.
 *
 * @throws EngineError `invalid_argument` or `unimplemented`, naming the field
 */
export function parseSpec(text: string): Spec {
  const spec = asObject(parseJson(text, "config.json"), "config.json");
  specCheck(spec, "");
  return spec as unknown as Spec;
}

/** The `resources` object alone, as `update --resources` takes it. */
export function parseResources(text: string): Resources {
  const resources = parseJson(text, "the resources file");
  resourcesCheck(resources, "resources");
  return resources as Resources;
}
