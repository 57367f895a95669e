// Connects a sandbox to networks and takes it off until it is killed; says so once it has begun.
import { createLogger } from "@longshore/log";
import { openStore } from "@longshore/store";
import { openNetworks } from "../src/index.ts";
import { BRIDGE, sandboxRequest } from "./lab.ts";

const [database = "", stateDir = ""] = process.argv.slice(2);
const networks = await openNetworks({
  ...{ stateDir, bridge: BRIDGE, store: openStore(`sqlite:${database}`) },
  log: createLogger("churn", { level: "fatal" }),
});
await networks.reconcile(["alive"]);
const id = (name: string) => networks.inspect(name).id;
const on = () => networks.endpoints("alive").map(({ networkName }) => networkName);
console.log("ready");
for (;;)
  for (const name of ["bridge", "blue", "red", "mac"]) {
    if (on().includes(name)) await networks.disconnect("alive", id(name));
    else await networks.connect(sandboxRequest("alive"), { network: name, names: ["alive"] });
  }
