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
} else if (process.argv[2] === "unpack-worker") {
  let refusal: unknown = "it has not been started again";
  if (process.argv[3] === undefined) {
    const { restartConfined } =
      require("./services/confine-unpacker.ts") as typeof import("./services/confine-unpacker.ts");
    try {
      restartConfined(["containerd", "unpack-worker", "--confined"]);
    } catch (error) {
      refusal = error;
    }
  }
  const { runUnpackWorker } =
    require("./services/unpack-worker.ts") as typeof import("./services/unpack-worker.ts");
  runUnpackWorker(process.argv[3], refusal).then(
    () => process.exit(0),
    () => process.exit(1), // nobody reads what it would say
  );
} else {
  const { runCommand } = require("./command.ts") as typeof import("./command.ts");
  runCommand();
}
