// A worker starts in milliseconds only as long as it does not load what the daemon is made of.
if (process.argv[2] === "diff-worker") {
  const { runDiffWorker } =
    require("./services/diff-worker.ts") as typeof import("./services/diff-worker.ts");
  runDiffWorker().then(
    () => process.exit(0),
    (error: unknown) => {
      console.error(`containerd: diff worker: ${error instanceof Error ? error.message : String(error)}`);
      process.exit(1);
    },
  );
} else {
  const { runCommand } = require("./command.ts") as typeof import("./command.ts");
  runCommand();
}
