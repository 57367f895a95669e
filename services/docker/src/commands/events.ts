import type { Command } from "../command.ts";
import { renderTemplate } from "../format/template.ts";
import { linesOf } from "../io/lines.ts";
import { print, printError } from "../io/output.ts";
import { FILTER_FLAG, parseFilters } from "./filters.ts";
import { parseTimestamp } from "./timestamp.ts";

/** An event as the engine tells it. */
interface EventLine {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> | null };
  scope?: string;
  time?: number;
  status?: string;
  id?: string;
  from?: string;
}

export const events: Command = {
  name: "docker events",
  usage: "[OPTIONS]",
  summary: "Get real time events from the server",
  arity: { min: 0, max: 0 },
  flags: [
    FILTER_FLAG,
    {
      name: "format",
      kind: "string",
      help: "Format output using a custom template: 'json' or a Go template",
    },
    { name: "since", kind: "string", help: "Show all events created since timestamp" },
    { name: "until", kind: "string", help: "Stream events until this timestamp" },
  ],
  async run({ client, flags }) {
    const now = Date.now();
    const format = flags.string("format");
    const { body, headers } = await client.send({
      path: "/events",
      query: {
        filters: parseFilters(flags.list("filter")),
        since: parseTimestamp("since", flags.string("since"), now),
        until: parseTimestamp("until", flags.string("until"), now),
      },
    });
    const knownSince = headers.get("longshore-events-since");
    if (knownSince !== undefined) printError(`WARNING: events before ${knownSince} are no longer kept`);
    for await (const line of linesOf(body)) print(showEvent(line, format));
    return 0;
  },
};

/** One line of the stream as the user wants it. */
export function showEvent(line: string, format: string): string {
  if (format === "json") return line;
  const event = JSON.parse(line) as EventLine;
  // It has more digits than a number keeps.
  const nanoseconds = /"timeNano":(\d+)/.exec(line)?.[1] ?? "";
  if (format !== "") {
    const { Type, Action, Actor, scope, time } = event;
    const fields = { Type, Action, Actor, Scope: scope, Time: time, TimeNano: nanoseconds };
    return renderTemplate(format, { ...fields, ...oldFields(event) });
  }
  const attributes = Object.entries(event.Actor.Attributes ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  const about = attributes.length > 0 ? ` (${attributes.join(", ")})` : "";
  const when = nanoseconds === "" ? "" : `${localTime(BigInt(nanoseconds))} `;
  return `${when}${event.Type} ${event.Action} ${event.Actor.ID}${about}`;
}

/** What engines of before API 1.52 tell a second time. */
function oldFields({ Type, Action, Actor, status, id, from }: EventLine): object {
  if (Type !== "container" && Type !== "image") return { Status: status, ID: id, From: from };
  const image = Type === "container" ? Actor.Attributes?.image : undefined;
  return { Status: status ?? Action, ID: id ?? Actor.ID, From: from ?? image };
}

/** RFC 3339 in local time, with nine digits of the second. */
function localTime(nanoseconds: bigint): string {
  const date = new Date(Number(nanoseconds / 1_000_000n));
  const minutes = -date.getTimezoneOffset();
  const local = new Date(date.getTime() + minutes * 60_000).toISOString().slice(0, 19);
  const two = (value: number) => String(value).padStart(2, "0");
  const away = Math.abs(minutes);
  const zone =
    minutes === 0 ? "Z" : `${minutes < 0 ? "-" : "+"}${two(Math.floor(away / 60))}:${two(away % 60)}`;
  return `${local}.${String(nanoseconds % 1_000_000_000n).padStart(9, "0")}${zone}`;
}
