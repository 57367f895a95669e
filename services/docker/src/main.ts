import { runMain } from "@longshore/cli";

runMain("docker", { help: "Usage: docker" }, () => {
  throw new Error("not built yet");
});
