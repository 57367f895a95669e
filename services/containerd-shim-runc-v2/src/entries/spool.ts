export { Spool } from "../io/spool.ts";
