// The calls of node:fs on open descriptors. None of them takes a name, so none can be led elsewhere.
export { closeSync, fstatSync, ftruncateSync, read, readSync, writeSync } from "node:fs";
