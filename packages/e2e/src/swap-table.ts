import fs from "node:fs";
import path from "node:path";

const README = path.join(import.meta.dir, "../../../README.md");
/** Where README has our executables. */
const README_BIN = "/opt/longshore/bin";

export type Part = "ours" | "real" | "crun";

/** A line of README's table of combinations. */
export interface Combination {
  /** `real containerd, our shim, crun`. */
  name: string;
  containerd: Part;
  shim: Part;
  runtime: Part;
  /** Flags of dockerd. */
  dockerd: string[];
  /** Flags of docker run. */
  run: string[];
}

/** The combinations as README tells users to make them. */
export function readCombinations(): Combination[] {
  const rows = section().matchAll(
    /^\| *(ours|real) *\| *(ours|real) *\| *(ours|real|crun) *\|(.*)\|(.*)\|$/gm,
  );
  return [...rows].map(([, containerd = "", shim = "", runtime = "", dockerd = "", run = ""]) => ({
    name: `${owner(containerd)} containerd, ${owner(shim)} shim, ${runtime === "crun" ? "crun" : `${owner(runtime)} runc`}`,
    containerd: containerd as Part,
    shim: shim as Part,
    runtime: runtime as Part,
    dockerd: words(dockerd),
    run: words(run),
  }));
}

/** A runtime in dockerd's configuration file, as README has it. */
export interface ShimRuntime {
  runtimeType: string;
  options: { BinaryName: string };
}

/** README's runtimes by name, with our executables in `binDir` and the others where `find` has them. */
export function readRuntimes(
  binDir: string,
  find: (name: string) => string | undefined,
): Record<string, ShimRuntime> {
  const [, json = ""] = /```json\n(.*?)```/s.exec(section()) ?? [];
  const here = json
    .replaceAll(README_BIN, binDir)
    .replaceAll(/"(\/usr\/s?bin\/[^"]+)"/g, (_, file: string) =>
      JSON.stringify(find(path.basename(file)) ?? file),
    );
  return (JSON.parse(here) as { runtimes: Record<string, ShimRuntime> }).runtimes;
}

function section(): string {
  const text = fs.readFileSync(README, "utf8");
  const [, found] = /<!-- swap -->(.*)<!-- \/swap -->/s.exec(text) ?? [];
  if (found === undefined) throw new Error("README.md has no section of combinations");
  return found;
}

const owner = (part: string) => (part === "ours" ? "our" : "real");

/** The words of a command in back-quotes. */
function words(cell: string): string[] {
  return cell.replaceAll("`", "").trim().split(/ +/);
}
