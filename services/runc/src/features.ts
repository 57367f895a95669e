import { COMMIT, VERSION } from "@longshore/cli";
import { knownOptions } from "@longshore/mounts";
import { CAPABILITIES, HOOK_NAMES, NAMESPACE_TYPES, SPEC_VERSION } from "@longshore/oci";
import { ARCHITECTURES, actionValue, filterFlags, operatorValue } from "@longshore/seccomp";
import { memoryPolicyOf } from "./attributes.ts";

/** Those of the specification's names that the code which works with them takes, in their order of letters. */
function taken(names: readonly string[], use: (name: string) => unknown): string[] {
  const known = names.filter((name) => {
    try {
      use(name);
      return true;
    } catch {
      return false;
    }
  });
  return known.sort();
}

/** Actions, operators and flags of seccomp in the specification (config-linux.md#seccomp). */
const ACTIONS = ["KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG", "NOTIFY"];
const OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
const FLAGS = ["TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"];

/** Modes and flags of memory policies (config-linux.md#memory-policy), the modes with nodes that each accepts. */
const MODES: Readonly<Record<string, string>> = {
  MPOL_BIND: "0",
  MPOL_DEFAULT: "",
  MPOL_INTERLEAVE: "0",
  MPOL_LOCAL: "",
  MPOL_PREFERRED: "0",
  MPOL_PREFERRED_MANY: "0",
  MPOL_WEIGHTED_INTERLEAVE: "0",
};
const MODE_FLAGS = ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

function seccomp() {
  const flags = taken(
    FLAGS.map((name) => `SECCOMP_FILTER_FLAG_${name}`),
    (name) => filterFlags({ defaultAction: "SCMP_ACT_ALLOW", flags: [name] }),
  );
  return {
    enabled: true,
    actions: taken(
      ACTIONS.map((name) => `SCMP_ACT_${name}`),
      (name) => actionValue(name, undefined),
    ),
    operators: taken(
      OPERATORS.map((name) => `SCMP_CMP_${name}`),
      operatorValue,
    ),
    archs: Object.keys(ARCHITECTURES).sort(),
    knownFlags: flags,
    supportedFlags: flags,
  };
}

/** What `runc features` prints (features.md, features-linux.md): what the runtime can do, whatever this machine has. */
export function features() {
  return {
    ociVersionMin: "1.0.0",
    ociVersionMax: SPEC_VERSION,
    hooks: HOOK_NAMES,
    mountOptions: knownOptions(),
    linux: {
      namespaces: [...NAMESPACE_TYPES].sort(),
      capabilities: CAPABILITIES,
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: false, rdma: true },
      seccomp: seccomp(),
      apparmor: { enabled: true },
      selinux: { enabled: true },
      intelRdt: { enabled: true, schemata: true, monitoring: true },
      memoryPolicy: {
        modes: taken(Object.keys(MODES), (mode) => memoryPolicyOf({ mode, nodes: MODES[mode] ?? "" })),
        flags: taken(MODE_FLAGS, (flag) => memoryPolicyOf({ mode: "MPOL_BIND", nodes: "0", flags: [flag] })),
      },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: true },
    },
    annotations: {
      "org.opencontainers.runc.checkpoint.enabled": "true",
      "org.opencontainers.runc.commit": COMMIT,
      "org.opencontainers.runc.version": VERSION,
    },
    potentiallyUnsafeConfigAnnotations: ["bundle", "org.systemd.property.", "org.criu.config"],
  };
}
