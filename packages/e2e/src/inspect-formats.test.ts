import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { clis, ours, useWorld } from "./world.ts";

const world = useWorld();

/** What a user may ask for, of which the API leaves much out when it is empty. */
const EXPRESSIONS: Record<string, readonly string[]> = {
  image: [
    ...[".ID", ".Variant", ".OsVersion", ".Author", ".Comment", ".Parent", ".DockerVersion", ".RepoTags"],
    ...[".Config.Labels", ".Config.Volumes", ".Config.ExposedPorts", ".Config.Healthcheck", ".Config.Env"],
    ...[".Config.StopSignal", ".Config.Shell", ".Config.OnBuild", ".Config.Entrypoint", ".Config.Cmd"],
    ...[".Config.Labels.nope", ".RootFS.Type", "json .Config.Labels", "json .Config.Healthcheck"],
    ...["if .Variant}}yes{{else}}no{{end", "len .Variant", 'print .Os "/" .Architecture .Variant'],
  ],
  container: [
    ...[".ID", ".Name", ".Args", ".SizeRw", ".SizeRootFs", ".ExecIDs", ".State.Health", ".Mounts"],
    ...["if .State.Health}}{{.State.Health.Status}}{{else}}none{{end", "json .SizeRw", "json .ExecIDs"],
    ...[
      "with .Config.Healthcheck}}{{.Test}} {{.Interval}} {{.Timeout}} {{.Retries}}{{end",
      ".Config.StopTimeout",
      ".Config.StopSignal",
      ".Config.ExposedPorts",
    ],
    ...[
      ".Config.Shell",
      ".Config.MacAddress",
      ".Config.NetworkDisabled",
      ".Config.Labels.a",
      ".Config.Volumes",
    ],
    ...[".Config.ArgsEscaped", ".Config.OnBuild", ".Config.Entrypoint", 'index .Config.Labels "a"'],
    ...[".HostConfig.Binds", ".HostConfig.CapAdd", ".HostConfig.CapDrop", ".HostConfig.DNS"],
    ...[".HostConfig.Init", ".HostConfig.PidsLimit", ".HostConfig.OomKillDisable", ".HostConfig.Tmpfs"],
    ...[".HostConfig.Sysctls", ".HostConfig.StorageOpt", ".HostConfig.Runtime", ".HostConfig.Mounts"],
    ...[
      ".HostConfig.NanoCPUs",
      ".HostConfig.CPUShares",
      ".HostConfig.RestartPolicy",
      ".HostConfig.LogConfig",
    ],
    ...[
      ".HostConfig.Devices",
      ".HostConfig.Ulimits",
      ".HostConfig.MemorySwappiness",
      ".HostConfig.ExtraHosts",
    ],
    ...['index .Config.Labels "nope"'],
    ...['index .NetworkSettings.Networks "nope"'],
    ...[".NetworkSettings.Ports", ".NetworkSettings.SecondaryIPAddresses", "json .NetworkSettings.Ports"],
    ...[
      ".NetworkSettings.IPAddress",
      ".NetworkSettings.Gateway",
      ".NetworkSettings.MacAddress",
      ".GraphDriver.Name",
    ],
    ...[
      "range $k, $v := .NetworkSettings.Networks}}{{$k}}:{{$v.IPAddress}} {{$v.Links}} {{$v.IPAMConfig}}{{end",
    ],
    ...["range .Mounts}}{{.Type}}:{{.Name}}:{{.Driver}}:{{.Destination}};{{end"],
  ],
  network: [
    ...[
      ".ID",
      ".Created",
      ".Name",
      ".IPAM",
      ".IPAM.Options",
      ".IPAM.Config",
      ".ConfigFrom",
      ".ConfigFrom.Network",
    ],
    ...[".Options", ".Labels", ".Labels.nope", ".Peers", ".Services", "len .Containers", ".Internal"],
    ...[
      "range .IPAM.Config}}{{.Subnet}}|{{.IPRange}}|{{.AuxAddress}}{{end",
      "json .Created",
      "json .ConfigFrom",
    ],
  ],
  volume: [
    ...[
      ".Name",
      ".Status",
      ".UsageData",
      ".Labels",
      ".Options",
      ".Labels.nope",
      ".CreatedAt",
      "json .Status",
    ],
  ],
};
const NAMES: Record<string, () => string[]> = {
  image: () => [world().busybox],
  container: () => ["full", "bare"],
  network: () => ["shown-net", "none"],
  volume: () => ["shown-volume"],
};
/** As whole templates: what the types don't have is looked for in the API's answer, which then is all that there is. */
const FALLBACKS: readonly string[] = [
  "{{.Id}}",
  "{{.Id}} {{.HostConfig.CapDrop}} {{.Config.Volumes}}",
  "{{.HostConfig.CpuShares}} {{.HostConfig.Dns}}",
  "{{.State.Health.Status}}",
  '{{range index .NetworkSettings.Ports "80/tcp"}}{{.HostIp}}:{{.HostPort}}{{end}} {{.Config.Volumes}}',
  '{{index .NetworkSettings.Ports "9/tcp"}} {{json (index .Config.ExposedPorts "9/tcp")}}',
  "{{range $p, $b := .NetworkSettings.Ports}}{{$p}} {{(index $b 0).HostPort}} {{(index $b 0).HostIP}}{{end}}",
  "{{.Nope}}",
  "{{.State.Nope}}",
  "{{.Nope.State}}",
  "{{.NetworkSettings.Networks.nope.IPAddress}}",
  "{{with $x := .State}}{{$x.Nope}}{{end}}",
  "{{range .State}}x{{end}}",
  "{{.State.Health.Log}}",
  "{{json .State.Pid}} {{json .Config.Labels}} {{print 1 2 .State.Running .Name}}",
  "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}}{{end}}{{.Path}}",
];

/** Of the client's own structures, with what the engine says of itself in them. */
const ABOUT: Record<string, readonly string[]> = {
  info: [
    ...[
      ".ID",
      ".ServerVersion",
      ".Plugins",
      "json .Plugins",
      ".Swarm",

      ".DriverStatus",
      ".Labels",
    ],
    ...["range .SecurityOptions}}{{.}};{{end", "range $k, $v := .Runtimes}}{{$k}}={{$v.Path}};{{end"],
    ...[
      ".CPUCfsQuota",
      ".HTTPProxy",
      ".ServerErrors",
      ".Warnings",
      "len .SecurityOptions",
      ".RegistryConfig.Mirrors",
    ],
    ...[
      ".DefaultAddressPools",
      ".ClientInfo.Context",
      ".ClientInfo.Debug",
      ".KernelMemory",
      ".Swarm.Cluster",
    ],
    ...[
      "if .Swarm.ControlAvailable}}y{{else}}n{{end",
      "range .DriverStatus}}{{index . 0}}={{index . 1}}{{end",
    ],
  ],
  version: [
    ...[
      ".Server",
      ".Server.Version",
      ".Server.Platform.Name",
      ".Server.Components",
      ".Client.Os",
      ".Client.Context",
    ],
    ...[
      "range .Server.Components}}{{.Name}}={{.Details.GitCommit}}|{{.Details.Nope}};{{end",
      "json .Server.Platform",
    ],
    ...[".Server.APIVersion", ".Server.BuildTime", "with .Server}}{{.Version}}{{end"],
  ],
};
const WRONG: Record<string, readonly string[]> = {
  info: [
    "{{.Nope}}",
    "a{{.ID}}{{.Swarm.Nope}}",
    "{{.ServerVersion.Nope}}",
    "{{.Labels.Nope}}",
    "{{.CpuCfsQuota}}",
  ],
  version: [
    "{{.Nope}}",
    "a{{.Server.Os}}b{{.Server.Nope}}",
    "{{.Client.Nope}}",
    "{{index .Server.Components 9}}",
  ],
};

const templateOf = (expressions: readonly string[]) =>
  expressions.map((expression) => `{{${expression}}}`).join("\n");

describe("inspect formats", () => {
  beforeAll(async () => {
    const docker = world().docker(ours);
    await docker("network", "create", "shown-net");
    await docker("volume", "create", "shown-volume");
    const health = ["--health-cmd", "true", "--health-interval", "1h30m", "--health-timeout", "1500ms"];
    const mounts = ["-v", "shown-volume:/data", "-v", "/etc:/host-etc:ro"];
    const image = world().busybox;
    await docker(
      ...["run", "-d", "--name", "full", "--net", "shown-net", "-p", "127.0.0.1::80", "--label", "a=b"],
      ...[...health, ...mounts, "--cap-add", "NET_ADMIN", "--pids-limit", "50", "--stop-timeout", "5"],
      ...["--init=false", "--dns", "192.0.2.53", image, "sleep", "1000"],
    );
    await docker("create", "--name", "bare", "--net", "none", image, "true");
  });

  afterAll(async () => {
    const docker = world().docker(ours);
    await docker("rm", "-f", "full", "bare");
    await docker("network", "rm", "shown-net");
    await docker("volume", "rm", "shown-volume");
  });

  test("what the API leaves out is an empty value", async () => {
    const docker = world().docker(ours);
    expect(
      await docker("image", "inspect", "-f", "{{.Os}}/{{.Architecture}}/{{.Variant}}", world().busybox),
    ).toBe("linux/amd64/");
    const format =
      "{{.SizeRw}} {{if .State.Health}}{{.State.Health.Status}}{{end}} {{.HostConfig.CapAdd}} {{.Config.Labels.x}}";
    expect(await docker("inspect", "-f", format, "bare")).toBe("<nil>  [] <no value>");
    expect(
      await docker("inspect", "-f", "{{.Config.Healthcheck.Interval}} {{.HostConfig.PidsLimit}}", "full"),
    ).toBe("1h30m0s 50");
    expect(await docker("network", "inspect", "-f", "{{.Labels}} {{.Created}}", "shown-net")).toMatch(
      /^map\[\] \d{4}-\d\d-\d\d [\d:.]+ \+0000 UTC$/,
    );
    expect(await docker("volume", "inspect", "-f", "{{.Status}} {{.UsageData}}", "shown-volume")).toBe(
      "map[] <nil>",
    );
  });

  describe.each(clis.filter((cli) => !cli.ours))("as with $name", (cli) => {
    test.each(Object.keys(EXPRESSIONS))("of a %s", async (kind) => {
      const expressions = EXPRESSIONS[kind] ?? [];
      for (const name of NAMES[kind]?.() ?? []) {
        const told = async (by: typeof cli) => {
          const text = await world().docker(by)(kind, "inspect", "-f", templateOf(expressions), name);
          const values = text.split("\n");
          return expressions.map((expression, i) => [expression, values[i]]);
        };
        expect(await told(ours)).toEqual(await told(cli));
      }
    });

    test.each(Object.keys(ABOUT))("of %s", async (command) => {
      const told = async (by: typeof cli) => {
        const text = await world().docker(by)(command, "-f", templateOf(ABOUT[command] ?? []));
        return text.split("\n").map((value, i) => [ABOUT[command]?.[i], value]);
      };
      const answer = async (by: typeof cli, format: string) => {
        const { status, stdout, stderr } = await world().docker(by).run([command, "-f", format]);
        // The name of a type of the client itself has changed between its releases.
        return { format, status, stdout, stderr: stderr.replace("system.dockerInfo", "system.info") };
      };
      expect(await told(ours)).toEqual(await told(cli));
      for (const format of [...(WRONG[command] ?? []), "{{.Server", "{{nofn .}}"])
        expect(await answer(ours, format)).toEqual(await answer(cli, format));
    });

    test("of what its types don't have", async () => {
      for (const name of ["full", "bare"]) {
        for (const format of FALLBACKS) {
          const told = async (by: typeof cli) => {
            const { status, stdout, stderr } = await world().docker(by).run(["inspect", "-f", format, name]);
            return { format, status, stdout, stderr };
          };
          expect(await told(ours)).toEqual(await told(cli));
        }
      }
    });
  });
});
