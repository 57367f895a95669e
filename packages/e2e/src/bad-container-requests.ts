/** A request that is wrong, as `bad-requests.test.ts` sends it. */
export interface Bad {
  request: string;
  /** As it is sent. */
  body?: string;
  status: number;
  /** What the message says, whoever says it. */
  says: RegExp;
  /** Docker looks for a plugin, for 15 seconds. */
  slow?: boolean;
  /** What Docker 20.10 answers instead: it checks less, or with another status. */
  old?: number;
}

type Row = readonly [what: string | object, says: RegExp, old?: number];

const lists: readonly Row[] = [
  ['{"is-task":["x"]}', /filter 'is-task=/i],
  ['{"exited":["x"]}', /parsing "x": invalid syntax/, 500],
  ['{"publish":["80:80"]}', /filter for 'publish' should not contain ':': 80:80/, 500],
  ['{"expose":["2-1"]}', /looking up for expose 2-1: Invalid range specified for the Port: 2-1/, 500],
  ['{"status":"exited"}', /./, 500],
];

const hosts: readonly Row[] = [
  [{ VolumesFrom: ["nosuch"] }, /No such container: nosuch/],
  [{ IpcMode: "container:nosuch" }, /No such container: nosuch/],
  [{ Tmpfs: { rel: "" } }, /invalid mount path: 'rel' mount path must be absolute/],
  [{ Tmpfs: { "/": "" } }, /invalid specification: destination can't be '\/'/],
  [{ ConsoleSize: [-1, 2] }, /ConsoleSize/, 500],
  [{ CapDrop: ["nosuch"] }, /invalid CapDrop: unknown capability: "CAP_NOSUCH"/],
  [{ CpusetCpus: "x" }, /Invalid value x for cpuset cpus: invalid format: x/],
  [{ Memory: -1 }, /Minimum memory limit allowed is [46]MB/],
  [{ Links: ["made:a"], NetworkMode: "host" }, /host type networking can't be used with links/],
  [{ ExtraHosts: ["a"] }, /bad format for add-host: "a"/],
  [{ SecurityOpt: ["nosuch=x"] }, /invalid --security-opt.*: "nosuch=x"/, 500],
  [{ Isolation: "x" }, /invalid isolation/i, 500],
  [{ OomScoreAdj: 1001 }, /range for oom score adj is \[-1000, 1000\]/],
  [{ ShmSize: -1 }, /SHM size can not be less than 0/],
  [{ RestartPolicy: { Name: "", MaximumRetryCount: 3 } }, /maximum retry count can.*be used with/, 201],
  [{ NanoCpus: 1e9, CpuQuota: 1e5 }, /Nano CPUs and CPU Quota cannot both be set/],
];

const mac = { MacAddress: "02:42:ac:11:00:99" };
const creates: readonly Row[] = [
  [{ ...mac, HostConfig: { NetworkMode: "host" } }, /conflicting options: mac-address and the network mode/],
  [{ Hostname: "a", HostConfig: { UTSMode: "host" } }, /conflicting options: hostname and the UTS mode/],
  [endpoints({ a: {}, b: {} }), /(multiple|connected to) network endpoints: /],
  [endpoints({ bridge: null }), /bridge: EndpointsConfig is nil|no EndpointSettings for bridge/],
];

const updates: readonly Row[] = [
  [{ RestartPolicy: { Name: "nosuch" } }, /nosuch/],
  [{ CpusetMems: "9" }, /Requested memory nodes are not available - requested 9/],
  [{ MemoryReservation: 1 }, /Minimum memory reservation allowed is [46]MB/],
];

/** Wrong requests on containers. `made` is one that was created and never started, `IMAGE` an image that is there. */
export const BAD_CONTAINER_REQUESTS: readonly Bad[] = [
  ...lists.map((row) => bad(`GET /containers/json?filters=${row[0]}`, row)),
  ...hosts.map((row) => bad("POST /containers/create?name=bad", row, create({ HostConfig: row[0] }))),
  ...creates.map((row) => bad("POST /containers/create?name=bad", row, create(row[0] as object))),
  ...updates.map((row) => bad("POST /containers/made/update", row, JSON.stringify(row[0]))),
  bad("POST /containers/made/start", ["", /non-empty request body/], '{"Binds":["/a:/b"]}'),
  bad("POST /containers/made/start?checkpoint=x", ["", /experimental mode/]),
  bad("POST /containers/made/rename?name=-x", [
    "",
    /^Error when allocating new name: Invalid container name/,
  ]),
  bad("POST /containers/ID/stop?t=x", ["", /parsing "x": invalid syntax/, 500]),
  bad("GET /containers/ID/logs", ["", /choose at least one stream/]),
];

function bad(request: string, [, says, old]: Row, body?: string): Bad {
  return {
    ...{ request, status: 400, says },
    ...(body !== undefined && { body }),
    ...(old !== undefined && { old }),
  };
}

function create(config: object): string {
  return JSON.stringify({ Image: "IMAGE", Cmd: ["true"], ...config });
}

function endpoints(networks: object): object {
  return { NetworkingConfig: { EndpointsConfig: networks } };
}
