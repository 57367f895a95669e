/** One port of a container, and where it is to be published. */
export interface Published {
  /** `80/tcp` */
  port: string;
  HostIp: string;
  /** A port or a range; empty: any free one. */
  HostPort: string;
}

const PROTOCOLS = ["tcp", "udp", "sctp"];
const PORT_MAX = 65_535;

/**
 * `80`, `8080:80`, `127.0.0.1:8080:80/udp`, `8000-8010:80`, `8000-8001:80-81`.
 * @throws Error in Docker's words
 */
export function parsePublish(text: string): Published[] {
  const slash = text.lastIndexOf("/");
  const protocol = slash < 0 ? "tcp" : text.slice(slash + 1).toLowerCase();
  if (!PROTOCOLS.includes(protocol)) throw new Error(`invalid proto: ${protocol}`);
  const parts = splitColons(slash < 0 ? text : text.slice(0, slash));
  const container = parts.pop() ?? "";
  const host = parts.pop() ?? "";
  const HostIp = parts.join(":").replace(/^\[(.*)\]$/, "$1");
  if (container === "") throw new Error(`no port specified: ${text}<empty>`);
  const inside = range(container, "containerPort");
  const outside = host === "" ? undefined : range(host, "hostPort");
  const many = inside[1] - inside[0];
  if (outside && many > 0 && outside[1] - outside[0] !== many)
    throw new Error(`invalid ranges specified for container and host Ports: ${container} and ${host}`);
  return Array.from({ length: many + 1 }, (_, at) => ({
    port: `${inside[0] + at}/${protocol}`,
    HostIp,
    HostPort: outside ? hostPort(outside, many, at) : "",
  }));
}

function hostPort([first, last]: readonly [number, number], many: number, at: number): string {
  if (many > 0) return String(first + at);
  return first === last ? String(first) : `${first}-${last}`;
}

/** `80`, `8000-8010/udp`: one text for each port. @throws Error in Docker's words */
export function parseExpose(text: string): string[] {
  const [ports = "", protocol = "tcp"] = text.split("/");
  if (text.includes(":")) throw new Error(`invalid port format for --expose: ${text}`);
  if (!PROTOCOLS.includes(protocol.toLowerCase())) throw new Error(`invalid proto: ${protocol}`);
  const [first, last] = range(ports, "range format for --expose");
  return Array.from({ length: last - first + 1 }, (_, at) => `${first + at}/${protocol.toLowerCase()}`);
}

/** Colons of an IPv6 address in brackets separate nothing. */
function splitColons(text: string): string[] {
  const [, address, rest] = /^(\[[^\]]*\]):(.*)$/.exec(text) ?? [];
  return address === undefined || rest === undefined ? text.split(":") : [address, ...rest.split(":")];
}

function range(text: string, what: string): readonly [number, number] {
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (first === undefined || from < 1 || to < from || to > PORT_MAX)
    throw new Error(`invalid ${what}: ${text}`);
  return [from, to];
}
