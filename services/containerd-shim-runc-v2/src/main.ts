// Only this and the file of what is asked for are loaded: each function of a file costs the long-lived process memory, whether it is
// ever called or not.

/** Flags that take a value in the next word. */
const VALUED = new Set(["namespace", "id", "address", "publish-binary", "bundle", "socket"]);

/** The first word that is no flag and no flag's value. */
function actionOf(argv: readonly string[]): string | undefined {
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] ?? "";
    if (!word.startsWith("-")) return word;
    if (VALUED.has(word.replace(/^--?/, ""))) index++;
  }
  return undefined;
}

/** The file in `entries/` for a command line. */
function entryOf(argv: readonly string[]): string {
  if (/^-?-?(h|help|v|version)$/.test(argv[0] ?? "")) return "start";
  if (argv.includes("-info") || argv.includes("--info")) return "info";
  const action = actionOf(argv);
  const overGrpc = process.env.LONGSHORE_SHIM_PROTOCOL === "grpc";
  if (action === "delete" || action === "compress-log") return action;
  // Asked for by our containerd. grpc-js can't take over a socket that listens already.
  if (action === "start" && process.env.LONGSHORE_SHIM_STAY === "1" && !overGrpc) return "stay";
  if (action !== undefined || argv.length < 2) return "start";
  return overGrpc ? "serve-grpc" : "serve";
}

// An executable holds these files under their own names (`packages/tooling/src/build.ts`).
require(`./entries/${entryOf(process.argv.slice(2))}.js`);
