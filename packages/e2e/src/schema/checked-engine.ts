import { OPERATIONS } from "./operations.ts";
import { problemsOf, type Versions } from "./shape.ts";

export interface Request {
  /** What stands for `{id}` or `{name}` in the path. */
  name?: string;
  query?: Readonly<Record<string, string>>;
  /** Sent as JSON, unless it is bytes: those are a tar archive. */
  body?: object | Uint8Array<ArrayBuffer>;
  headers?: Readonly<Record<string, string>>;
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
    { name, query, body, headers, status = 200 }: Request = {},
  ): Promise<Checked> {
    const answers = OPERATIONS[operation];
    const [method = "", pattern = ""] = operation.split(" ");
    if (!answers) throw new Error(`${operation} is not in the schema`);
    const path = pattern.replace(/\{(id|name)\}/, name ?? "");
    const search = new URLSearchParams(query).toString();
    const isTar = body instanceof Uint8Array;
    const type = isTar ? "application/x-tar" : "application/json";
    const response = await fetch(`http://docker/v${this.#versions.request}${path}${search && `?${search}`}`, {
      method,
      unix: this.#socket,
      headers: { ...headers, ...(body && { "content-type": type }) },
      ...(body && { body: isTar ? body : JSON.stringify(body) }),
    });
    const bytes = Buffer.from(await response.arrayBuffer());
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
      case "json":
        if (mediaType !== "application/json") note(`is of type ${mediaType}`);
        checked.json = JSON.parse(bytes.toString());
        break;
      case "lines":
        if (mediaType !== "application/json") note(`is of type ${mediaType}`);
        checked.json = bytes
          .toString()
          .split(/\r?\n/)
          .filter(Boolean)
          .map((line) => JSON.parse(line) as unknown);
        break;
    }
    const shape = answer.kind === "lines" ? ({ kind: "list", of: answer.of } as const) : answer.of;
    for (const problem of problemsOf(checked.json, shape, this.#versions)) note(problem);
    return checked;
  }
}
