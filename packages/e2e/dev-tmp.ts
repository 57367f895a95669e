import { startSuite } from "@longshore/suite";
const suite = await startSuite({ dir: "/tmp/dev", binDir: "/work/main/dist/bin", bridge: { name: "lsdev0", cidr: "10.98.1.1/24" } } as never);
console.log("up", (suite as any).dockerHost ?? Object.keys(suite));
process.on("SIGTERM", async () => { await suite.stop(); process.exit(0); });
setInterval(() => {}, 1e6);
