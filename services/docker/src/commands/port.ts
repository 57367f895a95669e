import { CliError } from "../cli-error.ts";
import type { Command } from "../command.ts";
import { print } from "../io/output.ts";

type Published = Record<string, { HostIp: string; HostPort: string }[] | null>;

export const port: Command = {
  name: "docker port",
  usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
  summary: "List port mappings or a specific mapping for the container",
  arity: { min: 1, max: 2 },
  flags: [],
  async run({ client, args: [name = "", wanted] }) {
    const { NetworkSettings } = await client.json<{ NetworkSettings: { Ports?: Published | null } }>({
      path: `/containers/${encodeURIComponent(name)}/json`,
    });
    for (const line of portLines(NetworkSettings.Ports ?? {}, name, wanted)) print(line);
    return 0;
  },
};

/** @throws CliError in Docker's words for a port that isn't published */
export function portLines(ports: Published, name: string, wanted: string | undefined): string[] {
  const address = ({ HostIp, HostPort }: { HostIp: string; HostPort: string }) =>
    `${HostIp.includes(":") ? `[${HostIp}]` : HostIp}:${HostPort}`;
  if (wanted !== undefined) {
    const key = wanted.includes("/") ? wanted : `${wanted}/tcp`;
    const found = ports[key] ?? [];
    if (found.length === 0) throw new CliError(`no public port '${wanted}' published for ${name}`);
    return found.map(address);
  }
  return Object.keys(ports)
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10) || (a < b ? -1 : 1))
    .flatMap((key) => (ports[key] ?? []).map((one) => `${key} -> ${address(one)}`));
}
