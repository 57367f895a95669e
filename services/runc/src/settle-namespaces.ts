import { EngineError } from "@longshore/errors";
import type { IdMapping, Spec } from "@longshore/oci";
import {
  CLONE_NEWCGROUP,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  type Hand,
  O_CLOEXEC,
  O_RDONLY,
  openFile,
  writeControl,
} from "@longshore/syscalls";
import { becomeMappedRoot } from "./become-root.ts";
import type { NamespacePlan } from "./namespaces.ts";
import { isRootless } from "./rootless.ts";
import { mappingsOf, Porter, writeMappings } from "./user-namespace.ts";

/** Refuse what asks for a namespace that isn't the container's own, in the original's words. */
export function checkNamespaces(spec: Spec, plan: NamespacePlan): void {
  const refuse = (words: string): never => {
    throw new EngineError("invalid_argument", words);
  };
  const { all, user } = plan;
  const { uidMappings = [], gidMappings = [], timeOffsets } = spec.linux ?? {};
  if (spec.hostname && !all.has("uts")) refuse("unable to set hostname without a private UTS namespace");
  if (spec.domainname && !all.has("uts")) refuse("unable to set domainname without a private UTS namespace");
  if (isRootless() && !user) refuse("rootless container requires user namespaces");
  if (user && user.path === undefined) {
    requireRoot("uid", uidMappings);
    requireRoot("gid", gidMappings);
  } else if (!user && uidMappings.length + gidMappings.length > 0) {
    refuse("user namespace mappings specified, but user namespace isn't enabled in the config");
  }
  if (timeOffsets === undefined) return;
  if (!all.has("time")) {
    refuse("time namespace offsets specified, but time namespace isn't enabled in the config");
  }
  if (plan.timeFd !== undefined) {
    refuse(
      "time namespace enabled, but both namespace path and time offsets specified -- you may only provide one",
    );
  }
}

function requireRoot(kind: "uid" | "gid", mappings: readonly IdMapping[]): void {
  if (mappings.length === 0) {
    throw new EngineError("invalid_argument", `user namespaces enabled, but no ${kind} mappings found`);
  }
  if (mappings.some(({ containerID, size }) => containerID === 0 && size > 0)) return;
  throw new EngineError("invalid_argument", `user namespaces enabled, but no mapping found for ${kind} 0`);
}

/** The mappings of the container's user namespace, if it has one. */
export function userMappings(
  plan: NamespacePlan,
): { uidMappings: IdMapping[]; gidMappings: IdMapping[] } | undefined {
  const { user, entered, joined: later } = plan;
  const joined = [...entered, ...later].find(({ type }) => type === "user");
  if (!user || !joined) return user;
  const real = mappingsOf(joined.fd);
  const given = user.uidMappings.length + user.gidMappings.length > 0;
  if (given && !(same(real.uidMappings, user.uidMappings) && same(real.gidMappings, user.gidMappings))) {
    throw new EngineError(
      "invalid_argument",
      "user namespaces enabled, but both namespace path and non-matching mapping specified -- you may only provide one",
    );
  }
  return real;
}

const same = (a: readonly IdMapping[], b: readonly IdMapping[]): boolean =>
  a.length === b.length &&
  a.every((mapping, index) => {
    const other = b[index];
    return (
      mapping.containerID === other?.containerID &&
      mapping.hostID === other.hostID &&
      mapping.size === other.size
    );
  });

/**
 * Queue what is left of the plan for the child that was born with it, and is in its cgroups. With a user namespace the child is root
 * there afterwards.
 *
 * @returns what brings it the paths that it can't reach as such
 */
export function settleNamespaces(hand: Hand, plan: NamespacePlan, spec: Spec): Porter | undefined {
  const { user } = plan;
  if (plan.pidFd !== undefined) hand.call("setns", [plan.pidFd, CLONE_NEWPID], { about: "pid namespace" });
  for (const { fd, flag, about } of plan.joined) hand.call("setns", [fd, flag], { about });
  if (plan.unshared !== 0) hand.call("unshare", [plan.unshared], { about: "namespaces" });
  if (plan.newCgroup) hand.call("unshare", [CLONE_NEWCGROUP], { about: "cgroup namespace" });
  // Before the child's files in /proc are root's.
  if (user && user.path === undefined) {
    if (plan.unshared !== 0) hand.run();
    writeMappings(hand.pid, user);
  }
  if (plan.newTime) {
    hand.call("unshare", [CLONE_NEWTIME], { about: "time namespace" });
    hand.run();
    writeOffsets(hand.pid, spec.linux?.timeOffsets ?? {});
  }
  if (user) becomeMappedRoot(hand);
  if (plan.newNetwork) loopbackUp(hand);
  // Who isn't root has no more rights than the child.
  if (!user || isRootless()) return undefined;
  hand.run();
  return new Porter(openFile(`/proc/${hand.pid}/ns/mnt`, O_RDONLY | O_CLOEXEC));
}

/** As long as nobody is in a new time namespace, its clocks can be set (time_namespaces(7)). */
function writeOffsets(pid: number, offsets: NonNullable<NonNullable<Spec["linux"]>["timeOffsets"]>): void {
  const lines = Object.entries(offsets).map(
    ([clock, { secs = 0, nanosecs = 0 }]) => `${clock} ${secs} ${nanosecs}\n`,
  );
  if (lines.length > 0) writeControl(`/proc/${pid}/timens_offsets`, lines.join(""));
}

/** Queue: the loopback interface of a new network namespace is up. */
function loopbackUp(hand: Hand): void {
  const { arena } = hand.calls;
  const fd = hand.call("socket", [2, 2 | O_CLOEXEC, 0]);
  const request = arena.room(40);
  arena.bytes.write("lo", request);
  arena.bytes.writeUInt16LE(1, request + 16); // IFF_UP
  hand.call("ioctl", [fd, 0x8914, arena.base + request], { about: "lo", skipOnError: 0 });
  hand.call("close", [fd]);
}
