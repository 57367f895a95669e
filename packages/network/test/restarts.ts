// An engine's networks that start over and over, with a network that comes and goes each time: `restarts.ts DATABASE STATE_DIR`.
import { createLogger } from "@longshore/log";
import { openStore } from "@longshore/store";
import { openNetworks } from "../src/index.ts";
import { BRIDGE, createRequest } from "./lab.ts";

const [, , database = "", stateDir = ""] = process.argv;

// Not beyond the test, should that end before it has killed this.
const parent = process.ppid;
for (let round = 0; process.ppid === parent; round++) {
  await using store = openStore(`sqlite:${database}`);
  const log = createLogger("network-test", { level: "fatal" });
  const networks = await openNetworks({ stateDir, bridge: BRIDGE, store, log });
  await networks.reconcile(["web"]);
  const names = networks.list().map(({ name }) => name);
  if (names.includes("passing")) await networks.remove("passing");
  await networks.create(createRequest("passing"));
  await networks.remove("passing");
  await networks.close();
  console.log(round);
}
