import type { LogDriver } from "./driver.ts";

/** Nothing is kept. Docker takes any options with it. */
export const none: LogDriver = { name: "none", check() {}, plan: () => ({}) };
