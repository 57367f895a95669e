export { readStats } from "../stats.ts";
