import type { JsonFileLog } from "@longshore/stdio";
import type { AboutContainer } from "./about.ts";
import type { Options } from "./options.ts";

export interface PlanInputs {
  /** The container's own. */
  directory: string;
  about: AboutContainer;
}

/** Where one container's output goes. */
export interface DriverPlan {
  /** A file in the json-file format. */
  file?: JsonFileLog;
  /** What a logger needs to know to send it away. */
  remote?: Remote;
}

export type Remote = SyslogRemote | JournaldRemote;

export interface SyslogRemote {
  driver: "syslog";
  /** `unix`, `unixgram`, `udp`, `tcp` or `tcp+tls`; empty for the machine's own server. */
  protocol: string;
  /** Path, or host and port. */
  address: string;
  tls: { ca: string; cert: string; key: string; skipVerify: boolean };
  facility: number;
  format: string;
  tag: string;
}

export interface JournaldRemote {
  driver: "journald";
  socketPath: string;
  /** Of each entry, besides message and priority. */
  fields: Record<string, string>;
}

export interface LogDriver {
  readonly name: string;
  /** @throws EngineError `invalid_argument` in Docker's words for options that the driver doesn't know or can't read */
  check(options: Options): void;
  plan(options: Options, inputs: PlanInputs): DriverPlan;
}
