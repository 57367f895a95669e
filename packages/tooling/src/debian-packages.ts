import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { Refusal } from "./refusal.ts";

/** What the suite needs to run, each with its use. */
export const RUNTIME_PACKAGES = [
  "ca-certificates", // TLS to registries
  "libseccomp2", // runc's system call filters
  "nats-server",
  "procps", // ps: `docker top`, and the process tree that `npm start` shows
];

/** The real components and servers that the tests compare with, and tools that they look with. */
export const TEST_PACKAGES = [
  "buildah",
  "containerd",
  "crun",
  "curl",
  "dbus-daemon", // the bus by which firewalld is reached
  "docker-cli", // its own package from Debian 13 on
  "docker-compose",
  "docker-registry",
  "docker.io",
  "firewalld",
  "iproute2",
  "nftables",
  "podman",
  "python3-docker", // a client that many programs are written with
  "redis-server",
  "runc",
  "skopeo",
  "strace",
  "umoci",
];

/** Services that would run at the next boot because their package was installed for its executable. */
const UNITS = [
  "containerd.service",
  "docker-registry.service",
  "docker.service",
  "docker.socket",
  "firewalld.service",
  "nats-server.service",
  "redis-server.service",
];

const POLICY = "/usr/sbin/policy-rc.d";
const APT_OPTIONS = ["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=2"];

function run(command: string, args: string[]): { ok: boolean; output: string } {
  const env = {
    ...process.env,
    DEBIAN_FRONTEND: "noninteractive",
    NEEDRESTART_SUSPEND: "1",
    LC_ALL: "C.UTF-8",
  };
  const result = spawnSync(command, args, { env, encoding: "utf8", maxBuffer: 1 << 28 });
  return { ok: result.status === 0, output: `${result.stdout ?? ""}${result.stderr ?? ""}` };
}

/** Those of the packages that aren't installed. */
export function missingPackages(packages: readonly string[]): string[] {
  // Exits with 1 when it doesn't know one of them; what it knows it prints all the same.
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const { output } = run("dpkg-query", ["-W", "-f=${Package} ${db:Status-Status}\n", ...packages]);
  const installed = new Set(
    output.split("\n").flatMap((line) => (line.endsWith(" installed") ? [line.split(" ")[0]] : [])),
  );
  return packages.filter((name) => !installed.has(name));
}

/** Those of the packages that this system's sources offer. */
export function offeredPackages(packages: readonly string[]): string[] {
  const { output } = run("apt-cache", ["policy", ...packages]);
  const blocks = output.split(/^(?=\S)/m);
  const offered = new Set(
    blocks.flatMap((block) =>
      /^ {2}Candidate: (?!\(none\))/m.test(block) ? [block.slice(0, block.indexOf(":"))] : [],
    ),
  );
  return packages.filter((name) => offered.has(name));
}

/** Whether apt-get has ever been told what its sources offer. */
function hasPackageLists(): boolean {
  const dir = "/var/lib/apt/lists";
  return fs.existsSync(dir) && fs.readdirSync(dir).some((name) => name.includes("_Packages"));
}

/** Run `work` while installed services are kept from being started; the machine's own policy is put back. */
function withoutStartingServices<T>(work: () => T): T {
  const saved = `${POLICY}.longshore-saved`;
  if (fs.existsSync(POLICY) && !fs.existsSync(saved)) fs.renameSync(POLICY, saved);
  fs.writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    return work();
  } finally {
    fs.rmSync(POLICY, { force: true });
    if (fs.existsSync(saved)) fs.renameSync(saved, POLICY);
  }
}

/** A package that was just installed for its executable shall not run as a service after the next boot either. */
function disableNewUnits(before: Set<string>): void {
  if (!fs.existsSync("/run/systemd/system")) return;
  const units = UNITS.filter((unit) => !before.has(unit) && fs.existsSync(`/lib/systemd/system/${unit}`));
  if (units.length > 0) run("systemctl", ["disable", "--quiet", ...units]);
}

/** The line of apt-get's output that says what is wrong. */
function reasonIn(output: string): string {
  const lines = output.trim().split("\n");
  return (lines.find((line) => /^E: /.test(line)) ?? lines.at(-1) ?? "").replace(/^E: /, "").trim();
}

export interface InstallOptions {
  /** Packages without which we go on where the system doesn't offer them. */
  optional?: readonly string[];
  progress: (line: string) => void;
}

/**
 * Install what is missing, in one run of apt-get, without recommended packages and without starting any service.
 *
 * @throws Refusal when apt-get can't
 */
export function installPackages(
  required: readonly string[],
  { optional = [], progress }: InstallOptions,
): void {
  const missing = missingPackages([...required, ...optional]);
  if (missing.length === 0) return;
  let offered = offeredPackages(missing);
  const lacking = () => required.filter((name) => missing.includes(name) && !offered.includes(name));
  if (lacking().length > 0 || !hasPackageLists()) {
    progress("apt-get update");
    // By itself it calls it a success when no source can be reached.
    const update = run("apt-get", [...APT_OPTIONS, "-o", "APT::Update::Error-Mode=any", "update"]);
    offered = offeredPackages(missing);
    if (lacking().length > 0) {
      const why = update.ok ? "no package source of this system offers it" : reasonIn(update.output);
      throw new Refusal(`can't install ${lacking().join(", ")}: ${why}`);
    }
  }
  if (offered.length === 0) return;
  progress(`apt-get install ${offered.join(" ")}`);
  const before = new Set(UNITS.filter((unit) => fs.existsSync(`/lib/systemd/system/${unit}`)));
  const install = [...APT_OPTIONS, "install", "--yes", "--no-install-recommends", ...offered];
  withoutStartingServices(() => {
    let result = run("apt-get", install);
    if (!result.ok) {
      // Most often the package lists are older than what the server holds.
      progress("apt-get update");
      run("apt-get", [...APT_OPTIONS, "update"]);
      result = run("apt-get", install);
    }
    if (!result.ok) throw new Refusal(`can't install ${offered.join(", ")}: ${reasonIn(result.output)}`);
  });
  disableNewUnits(before);
}
