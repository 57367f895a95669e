import { pathToFileURL } from "node:url";
import { build } from "./build.ts";
import { checkMachine } from "./checks.ts";
import { installPackages, RUNTIME_PACKAGES, TEST_PACKAGES } from "./debian-packages.ts";
import { runScript } from "./refusal.ts";
import { installStaticBusybox } from "./static-busybox.ts";
import { installWorkspace } from "./workspace.ts";

export interface SetupOptions {
  /** Also what the tests compare with. */
  tests?: boolean;
}

/** As packages/suite has it, which can't be imported before the workspace is installed. */
const UNPACKED_BUSYBOX = "/var/cache/longshore/busybox-static";

/** A line of progress, with the seconds since the script began. */
export function progress(line: string): void {
  console.log(`[${process.uptime().toFixed(1).padStart(5)} s] ${line}`);
}

/**
 * Bring this machine from a fresh clone to built executables; each step that is done already costs milliseconds.
 *
 * @throws Refusal with what is missing
 */
export function setup({ tests = false }: SetupOptions = {}): void {
  checkMachine();
  installPackages(RUNTIME_PACKAGES, { optional: tests ? TEST_PACKAGES : [], progress });
  installStaticBusybox(UNPACKED_BUSYBOX, progress);
  installWorkspace(progress);
  build({ progress });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await runScript(async () => {
    setup({ tests: process.argv.includes("--tests") });
    return 0;
  });
}
