export { joinCgroup } from "../shim-cgroup.ts";
