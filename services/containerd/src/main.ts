import { runMain } from "@longshore/cli";

runMain("containerd", { help: "Usage: containerd" }, () => {
  throw new Error("not built yet");
});
