import { EngineError, isErrno } from "@longshore/errors";
import type { Seccomp, SeccompRule } from "@longshore/oci";
import {
  type ArgumentComparison,
  close,
  ENOSYS,
  errnoText,
  libseccomp,
  memfdCreate,
  mkdirAll,
  packComparisons,
  readFile,
  rename,
  stat,
  writeFile,
} from "@longshore/syscalls";
import {
  ARCHITECTURES,
  actionValue,
  architectureValue,
  enosysPrelude,
  filterFlags,
  hasListener,
  isPermissive,
  type NewestCall,
  operatorValue,
} from "./translate.ts";

export interface Filter {
  /** Instructions of 8 bytes each. */
  program: Buffer;
  /** For seccomp(2). */
  flags: number;
  /** Whether calls are left to an agent, to whom the descriptor goes that loading it gives. */
  listener: boolean;
}

/** Changed whenever the same profile would compile to something else. */
const FORMAT = 2;
const NATIVE = "SCMP_ARCH_X86_64";

/**
 * A profile as a program for the kernel. Compiling takes libseccomp some 10 ms, so programs are kept by the hash of the profile
 * in a directory that only root can look into; what is found there with another owner isn't used.
 */
export function compileFilter(profile: Seccomp, cacheDirectory: string): Filter {
  const flags = filterFlags(profile);
  const listener = hasListener(profile);
  const key = new Bun.CryptoHasher("sha256").update(`${FORMAT}\n${JSON.stringify(profile)}`).digest("hex");
  const path = `${cacheDirectory}/${key}.bpf`;
  const cached = readCached(path);
  if (cached) return { program: cached, flags, listener };
  const program = compile(profile);
  mkdirAll(cacheDirectory, 0o700);
  const part = `${path}.${process.pid}`;
  writeFile(part, program, { mode: 0o600 });
  rename(part, path);
  return { program, flags, listener };
}

function readCached(path: string): Buffer | undefined {
  try {
    const { uid, mode } = stat(path);
    if (uid !== 0 || (mode & 0o077) !== 0) return undefined;
    const program = readFile(path);
    return program.length > 0 && program.length % 8 === 0 ? program : undefined;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

const nameBytes = (name: string) => Buffer.from(`${name}\0`);

function compile(profile: Seccomp): Buffer {
  const library = libseccomp();
  const ok = (result: number, what: string) => {
    if (result < 0) throw new EngineError("internal", `seccomp: ${what}: ${errnoText(-result)}`);
  };
  const defaultAction = actionValue(profile.defaultAction, profile.defaultErrnoRet);
  const context = Number(library.seccomp_init(defaultAction));
  if (context === 0) throw new EngineError("internal", "seccomp: libseccomp refuses the default action");
  try {
    for (const name of profile.architectures ?? []) {
      const result = library.seccomp_arch_add(context, architectureValue(name));
      if (result !== -17) ok(result, `architecture ${name}`);
    }
    ok(library.seccomp_attr_set(context, 3, 0), "no_new_privs"); // SCMP_FLTATR_CTL_NNP: ours to set
    const calls = (profile.syscalls ?? []).reduce((sum, { names }) => sum + names.length, 0);
    // A tree of comparisons in place of a chain; refused by old libraries, which goes without consequence.
    if (calls > 32) library.seccomp_attr_set(context, 8, 2); // SCMP_FLTATR_CTL_OPTIMIZE
    for (const rule of profile.syscalls ?? []) {
      const action = actionValue(rule.action, rule.errnoRet);
      // libseccomp refuses a rule that says what the default says.
      if (action === defaultAction) continue;
      for (const name of rule.names) {
        const number = library.seccomp_syscall_resolve_name(nameBytes(name));
        if (number === -1) continue; // of a newer kernel or another processor
        for (const comparisons of alternatives(rule)) {
          const { bytes, address } = packComparisons(comparisons);
          const result = library.seccomp_rule_add_array(context, action, number, comparisons.length, address);
          bytes.at(0); // alive until here
          ok(result, `rule for ${name}`);
        }
      }
    }
    const prelude =
      isPermissive(profile.defaultAction) || profile.defaultErrnoRet === ENOSYS
        ? Buffer.alloc(0)
        : enosysPrelude(newestCalls(profile));
    return Buffer.concat([prelude, exportProgram(library, context)]);
  } finally {
    library.seccomp_release(context);
  }
}

/** The comparisons of a rule. Two of one argument mean "or", as the original reads them; otherwise all must hold. */
export function alternatives(rule: SeccompRule): ArgumentComparison[][] {
  const comparisons = (rule.args ?? []).map(({ index, op, value, valueTwo = 0 }) => ({
    index,
    operator: operatorValue(op),
    a: BigInt(value),
    b: BigInt(valueTwo),
  }));
  const indexes = new Set(comparisons.map(({ index }) => index));
  return indexes.size < comparisons.length ? comparisons.map((one) => [one]) : [comparisons];
}

function newestCalls(profile: Seccomp): NewestCall[] {
  const library = libseccomp();
  const names = new Set((profile.syscalls ?? []).flatMap((rule) => rule.names));
  const architectures = new Set([NATIVE, ...(profile.architectures ?? [])]);
  return ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    .filter((name) => architectures.has(name))
    .map((name) => {
      const scmp = ARCHITECTURES[name] ?? 0;
      let number = 0;
      for (const call of names) {
        number = Math.max(number, library.seccomp_syscall_resolve_name_arch(scmp, nameBytes(call)));
      }
      // To the kernel x32 is x86-64 with a bit in the number.
      const architecture = name === "SCMP_ARCH_X32" ? (ARCHITECTURES[NATIVE] ?? 0) : scmp;
      return { architecture, number };
    })
    .filter(({ number }) => number > 0);
}

function exportProgram(library: ReturnType<typeof libseccomp>, context: number): Buffer {
  const fd = memfdCreate("seccomp");
  try {
    const result = library.seccomp_export_bpf(context, fd);
    if (result < 0) throw new EngineError("internal", `seccomp: export: ${errnoText(-result)}`);
    return readFile(`/proc/self/fd/${fd}`);
  } finally {
    close(fd);
  }
}
