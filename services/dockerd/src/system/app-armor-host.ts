import fs from "node:fs";
import { readOr } from "./host-facts.ts";

/** Whether the kernel confines by AppArmor, and its securityfs is there. */
export function hasAppArmor(): boolean {
  return (
    readOr("/sys/module/apparmor/parameters/enabled", "N").startsWith("Y") &&
    fs.existsSync("/sys/kernel/security/apparmor")
  );
}
