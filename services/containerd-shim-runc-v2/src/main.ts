import { runMain } from "@longshore/cli";
import { parseFlags } from "./flags.ts";

const HELP = `
Usage: containerd-shim-runc-v2 -namespace NS -address SOCKET -publish-binary BINARY -id ID [-bundle DIR] [-debug] start|delete

containerd's shim for runc: parent of one container, keeper of its stdio and exit status. Started by containerd with the
bundle as working directory and the runtime's options on stdin; "start" prints the address of its ttrpc socket.

  -namespace NS            containerd's namespace of the container
  -id ID                   the container's id
  -address SOCKET          containerd's gRPC socket
  -publish-binary BINARY   containerd's binary
  -bundle DIR              the bundle, when it is not the working directory
  -socket PATH             where to listen (without an action: the long-lived process itself, its socket as descriptor 3)
  -debug                   log more, to the bundle's log
  -v, --version            print the version
  -h, --help               print this
`;

// Each action loads only what it needs: start and delete run once per container.
runMain("containerd-shim-runc-v2", { help: HELP }, async (argv, signal) => {
  if (argv[0] === "compress-log") {
    return (require("./compress-log.ts") as typeof import("./compress-log.ts")).compressLog(argv.slice(1));
  }
  const flags = parseFlags(argv);
  if (flags.action === "start") {
    // Asked for by our containerd. grpc-js can't take over a socket that listens already.
    if (process.env.LONGSHORE_SHIM_STAY === "1" && process.env.LONGSHORE_SHIM_PROTOCOL !== "grpc") {
      return (require("./stay.ts") as typeof import("./stay.ts")).stay(flags, signal);
    }
    return (require("./bootstrap.ts") as typeof import("./bootstrap.ts")).start(flags);
  }
  if (flags.action === "delete") {
    return (require("./delete.ts") as typeof import("./delete.ts")).deleteLost(flags);
  }
  return (require("./serve.ts") as typeof import("./serve.ts")).serve(flags, signal);
});
