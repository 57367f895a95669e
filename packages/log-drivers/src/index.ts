export type { AboutContainer } from "./about.ts";
export type { Remote } from "./driver.ts";
export { jsonFilePath } from "./json-file.ts";
export { checkLogConfig, DRIVER_NAMES, type LogConfig, type LogPlan, logPlan } from "./log-plan.ts";
export type { LoggerConfig } from "./logger/open-sender.ts";
