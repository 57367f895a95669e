// Makes and releases sandboxes until it is killed; says so once it has begun.
import { createLogger } from "@longshore/log";
import { openStore } from "@longshore/store";
import { openNetworks } from "../src/index.ts";
import { BRIDGE, sandboxRequest } from "./lab.ts";

const [database = "", stateDir = "", round = ""] = process.argv.slice(2);
const networks = await openNetworks({
  ...{ stateDir, bridge: BRIDGE, store: openStore(`sqlite:${database}`) },
  log: createLogger("churn", { level: "fatal" }),
});
console.log("ready");
// Not beyond the test, should that end before it has killed this.
const parent = process.ppid;
for (let number = 0; process.ppid === parent; number++) {
  const ids = [0, 1, 2].map((part) => `churn-${round}-${number}-${part}`);
  await Promise.all(ids.map((id) => networks.createSandbox(sandboxRequest(id))));
  for (const id of ids) await networks.releaseSandbox(id);
}
