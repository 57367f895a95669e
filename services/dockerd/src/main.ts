import { runMain } from "@longshore/cli";

runMain("dockerd", { help: "Usage: dockerd" }, () => {
  throw new Error("not built yet");
});
