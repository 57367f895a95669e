import net from "node:net";
import { EngineError, errorCode } from "@longshore/errors";
import type { PortBinding, PortRequest } from "@longshore/network";
import type { ContainerRecord } from "./container.ts";
import type { ContainerConfig, HostConfig } from "./container-config.ts";

const PROTOCOLS = ["tcp", "udp", "sctp"] as const;
const PORT_MAX = 65_535;

/** A port of a container's: `80/tcp`. */
interface ContainerPort {
  port: number;
  protocol: PortRequest["protocol"];
}

/**
 * The ports that a container wants to be reached by, as `-p` and `-P` say.
 *
 * @throws EngineError `invalid_argument` for what is no port or address
 */
export function portRequests(
  { ExposedPorts }: Pick<ContainerConfig, "ExposedPorts">,
  { PortBindings, PublishAllPorts }: Pick<HostConfig, "PortBindings" | "PublishAllPorts">,
): PortRequest[] {
  const bound = Object.entries(PortBindings).flatMap(([key, bindings]) => {
    const { port, protocol } = parsePort(key);
    const wanted = bindings && bindings.length > 0 ? bindings : [{ HostIp: "", HostPort: "" }];
    return wanted.map(({ HostIp, HostPort }): PortRequest => {
      const hostPorts = parseHostPorts(HostPort);
      return {
        ...{ protocol, containerPort: port, hostIp: checkHostIp(HostIp) },
        ...(hostPorts && { hostPorts }),
      };
    });
  });
  if (!PublishAllPorts) return bound;
  const has = ({ port, protocol }: ContainerPort) =>
    bound.some((one) => one.containerPort === port && one.protocol === protocol);
  const rest = exposedPorts(ExposedPorts).filter((exposed) => !has(exposed));
  return [
    ...bound,
    ...rest.map(({ port, protocol }): PortRequest => ({ protocol, containerPort: port, hostIp: "" })),
  ];
}

/**
 * The ports that a configuration exposes, each once, in the order of their first mention.
 *
 * @param keys each a port or a range of ports: `80`, `53/udp`, `8000-8010/tcp`
 * @throws EngineError `invalid_argument` for what is no port, and for more ports than there are
 */
export function exposedPorts(keys: readonly string[]): ContainerPort[] {
  const ranges = keys.map(parseExposed);
  const count = ranges.reduce((sum, { from, to }) => sum + to - from + 1, 0);
  // Without this, a few kilobytes of overlapping ranges would cost seconds.
  if (count > PROTOCOLS.length * PORT_MAX)
    throw new EngineError("invalid_argument", "invalid ExposedPorts: more ports than there are");
  const ports = new Map<string, ContainerPort>();
  for (const one of ranges.flatMap(portsOf)) ports.set(`${one.port}/${one.protocol}`, one);
  return [...ports.values()];
}

/** A port as it is shown: with its protocol, `80/tcp` for `80`. */
export function portKey(text: string): string {
  return (text.includes("/") ? text : `${text}/tcp`).toLowerCase();
}

function parsePort(text: string): ContainerPort {
  const { from, to, protocol } = parseExposed(text);
  if (from !== to)
    throw new EngineError("invalid_argument", `invalid port specification: ${JSON.stringify(text)}`);
  return { port: from, protocol };
}

interface PortRange {
  from: number;
  /** The last one. */
  to: number;
  protocol: ContainerPort["protocol"];
}

function portsOf({ from, to, protocol }: PortRange): ContainerPort[] {
  return Array.from({ length: to - from + 1 }, (_, at) => ({ port: from + at, protocol }));
}

/** `80`, `53/udp` or a range of ports, `8000-8010/tcp`. */
function parseExposed(text: string): PortRange {
  const [, first, last = first, name = "tcp"] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/([a-z]+))?$/i.exec(text) ?? [];
  const protocol = PROTOCOLS.find((known) => known === name.toLowerCase());
  const [from, to] = [Number(first), Number(last)];
  if (first === undefined || !protocol || from < 1 || to < from || to > PORT_MAX)
    throw new EngineError("invalid_argument", `invalid port specification: ${JSON.stringify(text)}`);
  return { from, to, protocol };
}

function parseHostPorts(text: string): readonly [number, number] | undefined {
  if (text === "" || text === "0") return undefined;
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const [from, to] = [Number(first), Number(last)];
  if (first === undefined || from < 1 || to < from || to > PORT_MAX)
    throw new EngineError("invalid_argument", `invalid port specification: ${JSON.stringify(text)}`);
  return [from, to];
}

function checkHostIp(text: string): string {
  if (text === "" || net.isIPv4(text) || (net.isIPv6(text) && !text.includes("%"))) return text;
  throw new EngineError("invalid_argument", `invalid IP address in port binding: ${JSON.stringify(text)}`);
}

/** `NetworkSettings.Ports`: what is published, and null for what is only exposed. */
export function showPorts({ ports, config, state }: ContainerRecord): Record<string, object[] | null> {
  if (state.pid === 0) return {};
  const shown: Record<string, object[] | null> = {};
  for (const { port, protocol } of shownExposed(config)) shown[`${port}/${protocol}`] = null;
  for (const binding of ports) {
    const key = `${binding.containerPort}/${binding.protocol}`;
    shown[key] = [...(shown[key] ?? []), { HostIp: binding.hostIp, HostPort: String(binding.hostPort) }];
  }
  return shown;
}

/**
 * The exposed ports of a record; none when one of them is invalid. Former releases kept whatever an
 * image's config had.
 */
function shownExposed({ ExposedPorts }: ContainerConfig): ContainerPort[] {
  try {
    return exposedPorts(ExposedPorts);
  } catch (error) {
    if (errorCode(error) === "invalid_argument") return [];
    throw error;
  }
}

interface ListedPort {
  IP?: string;
  PrivatePort: number;
  PublicPort?: number;
  Type: string;
}

/** `Ports` of a list of containers. */
export function listPorts({ ports, config, state }: ContainerRecord): ListedPort[] {
  if (state.pid === 0) return [];
  const published = ports.map(({ hostIp, hostPort, containerPort, protocol }: PortBinding) => ({
    IP: hostIp,
    PrivatePort: containerPort,
    PublicPort: hostPort,
    Type: protocol,
  }));
  const isPublished = ({ port, protocol }: ContainerPort) =>
    ports.some((one) => one.containerPort === port && one.protocol === protocol);
  const exposed = shownExposed(config)
    .filter((one) => !isPublished(one))
    .map(({ port, protocol }) => ({ PrivatePort: port, Type: protocol }));
  return [...published, ...exposed];
}
