// Only this and the file of what is asked for are loaded: each function of a file costs the long-lived process memory, whether it is
// ever called or not.

/** Flags that take a value in the next word. */
const VALUED = new Set(["namespace", "id", "address", "publish-binary", "bundle", "socket"]);

/** Actions that have a file of their own; the file of `start` knows what to say of others. */
const ENTRIES = new Set(["delete", "compress-log", "serve-grpc", "standby", "wake"]);

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
  // Which of the two ways to start it is, is seen there: looking at the environment here would cost memory (`environment.ts`).
  if (action === "start") return "stay";
  if (action !== undefined) return ENTRIES.has(action) ? action : "start";
  return argv.length < 2 ? "start" : "serve";
}

// An executable holds these files under their own names (`packages/tooling/src/build.ts`).
require(`./entries/${entryOf(process.argv.slice(2))}.js`);
