import fs from "node:fs";
import { isErrno } from "@longshore/errors";
import { ATTRIBUTE_OPTIONS, checkAttributes } from "./attributes.ts";
import type { LogDriver, SyslogRemote } from "./driver.ts";
import { checkNames, invalid, type Options, parseBoolean } from "./options.ts";
import { tagOf } from "./tag.ts";

const NAME = "syslog";
const TLS = "tcp+tls";
const DEFAULT_PORT = "514";
const FORMATS = ["", "rfc3164", "rfc5424", "rfc5424micro"];
const OPTIONS = [
  "syslog-address",
  "syslog-facility",
  "syslog-tls-ca-cert",
  "syslog-tls-cert",
  "syslog-tls-key",
  "syslog-tls-skip-verify",
  "syslog-format",
  "tag",
  ...ATTRIBUTE_OPTIONS,
];
const FACILITIES =
  "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp security console clock local0 local1 local2 local3 local4 local5 local6 local7".split(
    " ",
  );
/** Numbers that have no name with Docker. */
const NAMELESS = ["ntp", "security", "console", "clock"];

/** A syslog server, this machine's or another one. */
export const syslog: LogDriver = {
  name: NAME,
  check(options) {
    checkNames(NAME, options, OPTIONS);
    parseAddress(options["syslog-address"] ?? "");
    parseFacility(options["syslog-facility"] ?? "");
    if (!FORMATS.includes(options["syslog-format"] ?? "")) throw invalid("Invalid syslog format");
    tlsOf(options);
    checkAttributes(options);
  },
  plan: (options, { about }) => ({
    remote: {
      driver: NAME,
      ...parseAddress(options["syslog-address"] ?? ""),
      tls: tlsOf(options),
      facility: parseFacility(options["syslog-facility"] ?? ""),
      format: options["syslog-format"] ?? "",
      tag: tagOf(options, about, "{{.ID}}"),
    },
  }),
};

/** @throws EngineError `invalid_argument` in Docker's words */
export function parseAddress(text: string): Pick<SyslogRemote, "protocol" | "address"> {
  if (text === "") return { protocol: "", address: "" };
  const [, protocol = "", rest = ""] = /^([a-z+]+):\/\/(.*)$/.exec(text) ?? [];
  if (protocol === "unix" || protocol === "unixgram") {
    if (!fs.existsSync(rest)) throw invalid(`stat ${rest}: no such file or directory`);
    return { protocol, address: rest };
  }
  if (!["udp", "tcp", TLS].includes(protocol)) {
    const [scheme = ""] = /^[^:]*/.exec(protocol === "" ? text : protocol) ?? [];
    throw invalid(`unsupported scheme: '${scheme}'`);
  }
  const [, host, port = DEFAULT_PORT] =
    /^(\[[0-9a-fA-F:.%\w]+\]|[^\s:/?#[\]]+)(?::(\d{1,5}))?\/?$/.exec(rest) ?? [];
  if (host === undefined || Number(port) > 65_535) throw invalid(`invalid syslog-address: ${text}`);
  return { protocol, address: `${host}:${port}` };
}

/** The default is `daemon`. */
function parseFacility(text: string): number {
  if (text === "") return FACILITIES.indexOf("daemon");
  const named = NAMELESS.includes(text) ? -1 : FACILITIES.indexOf(text);
  if (named >= 0) return named;
  if (/^\d{1,2}$/.test(text) && Number(text) < FACILITIES.length) return Number(text);
  throw invalid("invalid syslog facility");
}

function tlsOf(options: Options): SyslogRemote["tls"] {
  const [ca, cert, key] = ["ca-cert", "cert", "key"].map((name) => {
    const file = options[`syslog-tls-${name}`] ?? "";
    if (file !== "") checkReadable(`syslog-tls-${name}`, file);
    return file;
  });
  const skip = options["syslog-tls-skip-verify"];
  // Any value but a false one, as with Docker.
  const skipVerify = skip !== undefined && (skip === "" || parseBoolean(skip));
  return { ca: ca ?? "", cert: cert ?? "", key: key ?? "", skipVerify };
}

function checkReadable(name: string, file: string): void {
  try {
    fs.accessSync(file, fs.constants.R_OK);
  } catch (error) {
    const why = isErrno(error, "ENOENT") ? "no such file or directory" : "permission denied";
    throw invalid(`${name}: open ${file}: ${why}`);
  }
}
