/** What the environment tells of a linked container. */
export interface LinkedContainer {
  /** `/CONTAINER/ALIAS` */
  name: string;
  alias: string;
  address: string;
  /** Its own environment. */
  env: readonly string[];
  /** Exposed ports, `80/tcp`. */
  ports: readonly string[];
}

interface Port {
  number: number;
  protocol: string;
}

/** Variables of the linked container's image that say nothing to others. */
const PRIVATE = ["HOME", "PATH"];

/** Docker's variables of a link: `ALIAS_PORT…`, `ALIAS_NAME`, `ALIAS_ENV_…`. */
export function linkEnvironment({ name, alias, address, env, ports }: LinkedContainer): string[] {
  const prefix = alias.toUpperCase().replaceAll("-", "_");
  const sorted = ports.map(parsePort).sort(byProtocol);
  const [first] = sorted;
  return [
    ...(first ? [`${prefix}_PORT=${first.protocol}://${address}:${first.number}`] : []),
    ...sorted.flatMap((port) => portVariables(prefix, address, port)),
    ...rangesOf(sorted).flatMap((range) => rangeVariables(prefix, address, range)),
    `${prefix}_NAME=${name}`,
    ...env.flatMap((entry) => {
      const at = entry.indexOf("=");
      const variable = entry.slice(0, at);
      return at < 0 || PRIVATE.includes(variable) ? [] : [`${prefix}_ENV_${variable}=${entry.slice(at + 1)}`];
    }),
  ];
}

function portVariables(prefix: string, address: string, { number, protocol }: Port): string[] {
  const port = `${prefix}_PORT_${number}_${protocol.toUpperCase()}`;
  return [
    `${port}=${protocol}://${address}:${number}`,
    `${port}_ADDR=${address}`,
    `${port}_PORT=${number}`,
    `${port}_PROTO=${protocol}`,
  ];
}

function rangeVariables(prefix: string, address: string, { first, last, protocol }: Range): string[] {
  const range = `${prefix}_PORT_${first}_${protocol.toUpperCase()}`;
  return [
    `${range}_START=${protocol}://${address}:${first}`,
    `${range}_PORT_START=${first}`,
    `${range}_END=${protocol}://${address}:${last}`,
    `${range}_PORT_END=${last}`,
  ];
}

interface Range {
  first: number;
  last: number;
  protocol: string;
}

/** Ports of one protocol that follow one another, two and more. */
function rangesOf(sorted: readonly Port[]): Range[] {
  const ranges: Range[] = [];
  for (const { number, protocol } of sorted) {
    const open = ranges.at(-1);
    if (open?.protocol === protocol && open.last + 1 === number) open.last = number;
    else ranges.push({ first: number, last: number, protocol });
  }
  return ranges.filter(({ first, last }) => first !== last);
}

function parsePort(text: string): Port {
  const [number = "", protocol = "tcp"] = text.split("/");
  return { number: Number(number), protocol: protocol.toLowerCase() };
}

/** TCP first, then the other protocols by name; within one by number. */
function byProtocol(a: Port, b: Port): number {
  if (a.protocol === b.protocol) return a.number - b.number;
  if (a.protocol === "tcp" || b.protocol === "tcp") return a.protocol === "tcp" ? -1 : 1;
  return a.protocol < b.protocol ? -1 : 1;
}
