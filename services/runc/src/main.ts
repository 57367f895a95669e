import { runMain } from "@longshore/cli";

runMain("runc", { help: "Usage: runc" }, () => {
  throw new Error("not built yet");
});
