import { OPERATIONS } from "./operations.ts";
import { isOlder, problemsOf, type Versions } from "./shape.ts";
import { readWebsocket, type WebsocketAnswer } from "./websocket.ts";

/** Of RFC 6455 (11.8), what a message is. */
const TEXT = 1;
const BINARY = 2;

export interface Request {
  /** What stands for `{id}` or `{name}` in the path. */
  name?: string;
  query?: Readonly<Record<string, string>>;
  /** Sent as JSON, unless it is bytes: those are a tar archive. */
  body?: object | Uint8Array<ArrayBuffer>;
  headers?: Readonly<Record<string, string>>;
  /** Ask by plain HTTP for what is a websocket. */
  plain?: boolean;
  /** That is expected: 200 when left out. */
  status?: number;
}

export interface Checked {
  bytes: Buffer;
  headers: Headers;
  /** The answer's JSON, or the objects of an answer in lines. */
  json: unknown;
}

/** An engine whose answers are all compared with the schema. */
export class CheckedEngine {
  /** What was not as the schema has it, each with its operation and version. */
  readonly problems: string[] = [];
  /** Operations that were answered as expected. */
  readonly called = new Set<string>();
  readonly #socket: string;
  readonly #versions: Versions;

  constructor(socket: string, versions: Versions) {
    this.#socket = socket;
    this.#versions = versions;
  }

  /**
   * One request. What it gets is checked, and noted in `problems`.
   * @throws Error for another status than the expected, which the rest of a scenario can't do with
   */
  async call(
    operation: string,
    { name, query, body, headers, plain = false, status = 200 }: Request = {},
  ): Promise<Checked> {
    const answers = OPERATIONS[operation];
    const [method = "", pattern = ""] = operation.split(" ");
    if (!answers) throw new Error(`${operation} is not in the schema`);
    const path = pattern.replace(/\{(id|name)\}/, name ?? "");
    const search = new URLSearchParams(query).toString();
    const target = `/v${this.#versions.request}${path}${search && `?${search}`}`;
    const isWebsocket = Object.values(answers).some(({ kind }) => kind === "websocket") && !plain;
    const response = isWebsocket
      ? await readWebsocket(this.#socket, target)
      : await this.#fetch(target, { method, body, headers });
    const { bytes } = response;
    const note = (problem: string) =>
      this.problems.push(`${operation} of ${this.#versions.request}, ${response.status}: ${problem}`);
    if (response.status !== status)
      throw new Error(`${operation} ${name ?? ""}: ${response.status} ${bytes.toString().slice(0, 500)}`);
    const answer = answers[status];
    const checked: Checked = { bytes, headers: response.headers, json: undefined };
    this.called.add(operation);
    if (!answer) {
      note("this status is not in the schema");
      return checked;
    }
    const mediaType = response.headers.get("content-type") ?? "";
    switch (answer.kind) {
      case "nothing":
        if (bytes.length > 0) note(`has a body: ${bytes.toString().slice(0, 100)}`);
        return checked;
      case "text":
        if (bytes.length === 0) note("has no text");
        return checked;
      case "bytes":
        if (!answer.type.test(mediaType)) note(`is of type ${mediaType}`);
        return checked;
      case "websocket": {
        const opcode = isOlder(this.#versions.request, "1.28") ? TEXT : BINARY;
        for (const problem of response.problems) note(problem);
        if (response.opcodes.some((one) => one !== opcode))
          note(`has messages of the kinds ${response.opcodes.join(", ")}, not only of ${opcode}`);
        return checked;
      }
      case "json":
        if (mediaType !== "application/json") note(`is of type ${mediaType}`);
        checked.json = JSON.parse(bytes.toString());
        break;
      case "lines": {
        const { namedSince } = answer;
        const isNamed = namedSince !== undefined && !isOlder(this.#versions.request, namedSince);
        if (mediaType !== (isNamed ? "application/jsonl" : "application/json"))
          note(`is of type ${mediaType}`);
        checked.json = bytes
          .toString()
          .split(/\r?\n/)
          .filter(Boolean)
          .map((line) => JSON.parse(line) as unknown);
        break;
      }
    }
    const shape = answer.kind === "lines" ? ({ kind: "list", of: answer.of } as const) : answer.of;
    for (const problem of problemsOf(checked.json, shape, this.#versions)) note(problem);
    return checked;
  }

  async #fetch(
    target: string,
    {
      method,
      body,
      headers,
    }: { method: string; body: Request["body"] | undefined; headers: Request["headers"] | undefined },
  ): Promise<WebsocketAnswer> {
    const isTar = body instanceof Uint8Array;
    const type = isTar ? "application/x-tar" : "application/json";
    const answer = await fetch(`http://docker${target}`, {
      method,
      unix: this.#socket,
      headers: { ...headers, ...(body && { "content-type": type }) },
      ...(body && { body: isTar ? body : JSON.stringify(body) }),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    return { status: answer.status, headers: answer.headers, bytes, opcodes: [], problems: [] };
  }
}
