import { runMain } from "@longshore/cli";

runMain("containerd-shim-runc-v2", { help: "Usage: containerd-shim-runc-v2" }, () => {
  throw new Error("not built yet");
});
