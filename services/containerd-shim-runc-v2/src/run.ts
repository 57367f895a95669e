import { runMain } from "@longshore/cli";
import { type Flags, parseFlags } from "./flags.ts";

const HELP = `
Usage: containerd-shim-runc-v2 -namespace NS -address SOCKET -publish-binary BINARY -id ID [-bundle DIR] [-debug] start|delete
       containerd-shim-runc-v2 -info

containerd's shim for runc: parent of one container, keeper of its stdio and exit status. Started by containerd with the
bundle as working directory and the runtime's options on stdin; "start" prints the address of its ttrpc socket.

  -namespace NS            containerd's namespace of the container
  -id ID                   the container's id
  -address SOCKET          containerd's gRPC socket
  -publish-binary BINARY   containerd's binary
  -bundle DIR              the bundle, when it is not the working directory
  -socket PATH             where to listen (without an action: the long-lived process itself, its socket as descriptor 3)
  -debug                   log more, to the bundle's log
  -info                    print what this and the runtime can do, a RuntimeInfo in protobuf; takes the options on stdin
  -v, --version            print the version
  -h, --help               print this
`;

/** What each file of `entries/` does: read the command line, act, exit. */
export function run(act: (flags: Flags) => Promise<number>): void {
  runMain("containerd-shim-runc-v2", { help: HELP }, (argv) => act(parseFlags(argv)));
}
