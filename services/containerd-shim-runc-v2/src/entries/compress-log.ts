import { runMain } from "@longshore/cli";
import { compressLog } from "../compress-log.ts";

runMain("containerd-shim-runc-v2", { help: "" }, ([, ...argv]) => compressLog(argv));
