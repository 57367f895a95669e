import { runLogger } from "@longshore/log-drivers/logger";

// A container's logger: `dockerd log-driver FILE`, started by the container's shim.
// The shim asks it to end some seconds after the end of its input; that has told it already, and what it still has may yet be taken.
process.on("SIGTERM", () => {});
runLogger(process.argv[3] ?? "").then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(`dockerd log-driver: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  },
);
