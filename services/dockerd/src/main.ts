// A logger is there for each container that has one: it doesn't load what the daemon needs.
const entry = process.argv[2] === "log-driver" ? "log-driver" : "daemon";

// An executable holds these files under their own names (`packages/tooling/src/build.ts`).
require(`./entries/${entry}.js`);
