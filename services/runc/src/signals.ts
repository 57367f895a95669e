import { EngineError } from "@longshore/errors";

const NAMES = [
  "HUP",
  "INT",
  "QUIT",
  "ILL",
  "TRAP",
  "ABRT",
  "BUS",
  "FPE",
  "KILL",
  "USR1",
  "SEGV",
  "USR2",
  "PIPE",
  "ALRM",
  "TERM",
  "STKFLT",
  "CHLD",
  "CONT",
  "STOP",
  "TSTP",
  "TTIN",
  "TTOU",
  "URG",
  "XCPU",
  "XFSZ",
  "VTALRM",
  "PROF",
  "WINCH",
  "IO",
  "PWR",
  "SYS",
];

const OTHER_NAMES: Record<string, number> = { IOT: 6, POLL: 29, CLD: 17, UNUSED: 31 };

/** A signal by name, with or without SIG, in any case, or by number. */
export function parseSignal(text: string): number {
  if (/^[+-]?\d+$/.test(text)) return Number(text);
  const name = text.toUpperCase().replace(/^SIG/, "");
  const index = NAMES.indexOf(name);
  if (index >= 0) return index + 1;
  const other = OTHER_NAMES[name];
  if (other !== undefined) return other;
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name);
  if (realTime) {
    const offset = Number(`${realTime[2] ?? ""}${realTime[3] ?? 0}`);
    const number = (realTime[1] === "MIN" ? 34 : 64) + offset;
    if (number >= 34 && number <= 64) return number;
  }
  throw new EngineError("invalid_argument", `unknown signal ${JSON.stringify(text)}`);
}
