import { EngineError, Errno } from "@longshore/errors";
import { addAddress, type LinkAddress, moveLink, RouteSocket, setLink } from "@longshore/netlink";
import type { Spec } from "@longshore/oci";
import { CLONE_NEWNET, errnoText, Fd, O_CLOEXEC, O_RDONLY, openFile, setns } from "@longshore/syscalls";
import type { NamespacePlan } from "./namespaces.ts";

type NetDevices = NonNullable<NonNullable<Spec["linux"]>["netDevices"]>;

/** The kernel's own rule for names of interfaces. */
function isName(name: string): boolean {
  const bytes = Buffer.byteLength(name);
  return bytes > 0 && bytes < 16 && name !== "." && name !== ".." && !/[/:\s]/.test(name);
}

/** Refuse what can't be moved, in the original's words. */
export function checkNetDevices(devices: NetDevices, { all }: NamespacePlan): void {
  const refuse = (words: string): never => {
    throw new EngineError("invalid_argument", words);
  };
  const entries = Object.entries(devices);
  if (entries.length > 0 && !all.has("network")) {
    refuse("unable to move network devices without a NET namespace");
  }
  for (const [name, { name: wanted }] of entries) {
    for (const each of [name, ...(wanted ? [wanted] : [])]) {
      if (!isName(each)) refuse(`invalid network device name ${JSON.stringify(each)}`);
    }
  }
}

/** Move interfaces of the host into a process's network namespace, with their global addresses, and bring them up there. */
export function moveNetDevices(devices: NetDevices, pid: number): void {
  using own = new RouteSocket();
  using namespace = new Fd(openFile(`/proc/${pid}/ns/net`, O_RDONLY | O_CLOEXEC));
  using theirs = socketIn(namespace.number);
  for (const [name, { name: wanted = "" }] of Object.entries(devices)) {
    const link = own.link(name);
    if (!link) fail(`link not found for interface ${name} on runtime namespace: Link not found`);
    const { index } = link;
    const addresses = own.addresses().filter((address) => address.index === index);
    attempt(`fail to move network device ${name} to network namespace /proc/${pid}/ns/net`, () =>
      own.run(moveLink({ index, name: wanted || name, netns: namespace.number })),
    );
    arrive(theirs, wanted || name, addresses);
  }
}

/** The kernel forgets addresses with the move. */
function arrive(theirs: RouteSocket, name: string, addresses: readonly LinkAddress[]): void {
  const link = theirs.link(name);
  if (!link) fail(`link not found for interface ${name} on namespace: Link not found`);
  const { index } = link;
  for (const { address, prefixLength, permanent, global } of addresses) {
    if (!permanent || !global) continue;
    attempt("fail to set up address", () => theirs.run(addAddress({ index, address, prefixLength })));
  }
  attempt(`fail to set up interface ${name}`, () => theirs.run(setLink({ index }, { up: true })));
}

/** A socket stays in the namespace that it was made in. */
function socketIn(namespace: number): RouteSocket {
  using home = new Fd(openFile("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  setns(namespace, CLONE_NEWNET);
  try {
    return new RouteSocket();
  } finally {
    setns(home.number, CLONE_NEWNET);
  }
}

function fail(words: string): never {
  throw new EngineError("invalid_argument", words);
}

function attempt(words: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    throw new EngineError("internal", `${words}: ${errnoText(error.errno)}`, { cause: error });
  }
}
