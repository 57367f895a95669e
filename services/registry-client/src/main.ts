import { runMain } from "@longshore/cli";

runMain("registry-client", { help: "Usage: registry-client" }, () => {
  throw new Error("not built yet");
});
