import { expect, test } from "bun:test";
import { applyChanges } from "./image-changes.ts";

test("applyChanges() reads every instruction that --change takes, in its forms", () => {
  const config = applyChanges({ Env: ["PATH=/bin", "KEPT=1"], Labels: { old: "1" }, WorkingDir: "/srv" }, [
    'CMD ["sleep", "1"]',
    "entrypoint echo hello",
    'ENV PATH=/sbin NAME="a b" ESC=a\\ b',
    "ENV OLD form of one",
    "EXPOSE 80 53/udp 8000-8002/TCP",
    "LABEL a=1 \"b c\"='d'",
    "ONBUILD RUN make",
    "STOPSIGNAL SIGINT",
    "USER nobody:nogroup",
    'VOLUME ["/data", "/more"]',
    "VOLUME /third /fourth",
    "WORKDIR sub",
    "HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f localhost",
  ]);
  expect(config).toEqual({
    Cmd: ["sleep", "1"],
    Entrypoint: ["/bin/sh", "-c", "echo hello"],
    Env: ["PATH=/sbin", "KEPT=1", "NAME=a b", "ESC=a b", "OLD=form of one"],
    ExposedPorts: { "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {} },
    Labels: { old: "1", a: "1", "b c": "d" },
    OnBuild: ["RUN make"],
    StopSignal: "SIGINT",
    User: "nobody:nogroup",
    Volumes: { "/data": {}, "/more": {}, "/third": {}, "/fourth": {} },
    WorkingDir: "/srv/sub",
    Healthcheck: { Interval: 90e9, Retries: 2, Test: ["CMD-SHELL", "curl -f localhost"] },
  });
});

test("applyChanges() drops the command with the entrypoint that it was for", () => {
  const config = { Entrypoint: ["/a"], Cmd: ["b"] };
  expect(applyChanges(config, ["ENTRYPOINT /c"]).Cmd).toBeNull();
  expect(applyChanges(config, ["ENTRYPOINT /c", 'CMD ["d"]']).Cmd).toEqual(["d"]);
  expect(applyChanges(config, ['CMD ["d"]', "ENTRYPOINT /c"]).Cmd).toEqual(["d"]);
});

test("applyChanges() takes a command of nothing, and an entrypoint", () => {
  const config = { Entrypoint: ["/a"], Cmd: ["b"] };
  expect(applyChanges(config, ["CMD"]).Cmd).toEqual(["/bin/sh", "-c"]);
  expect(applyChanges({ ...config, Shell: ["/bin/ash"] }, ["CMD "]).Cmd).toEqual(["/bin/ash"]);
  expect(applyChanges(config, ["CMD []"]).Cmd).toEqual([]);
  for (const change of ["ENTRYPOINT", "ENTRYPOINT []"])
    expect(applyChanges(config, [change])).toEqual({ Entrypoint: null, Cmd: null });
});

test("applyChanges() leaves what it was given as it is", () => {
  const before = { Env: ["A=1"] };
  applyChanges(before, ["ENV A=2"]);
  expect(before).toEqual({ Env: ["A=1"] });
});

test.each([
  ["RUN make", "RUN is not a valid change command"],
  ["ENV lonely", "ENV must have two arguments"],
  ["ENV a=1 b", `Syntax error - can't find = in "b". Must be of the form: name=value`],
  ["EXPOSE 99999", "invalid containerPort: 99999"],
  ["EXPOSE 9-8", "invalid containerPort: 9-8"],
  ["STOPSIGNAL NOSUCH", "invalid signal: NOSUCH"],
  ["HEALTHCHECK curl", 'Unknown type "CURL" in HEALTHCHECK (try CMD)'],
  ["ONBUILD from x", "FROM isn't allowed as an ONBUILD trigger"],
  ["ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
  ['VOLUME ["/a", ""]', "VOLUME specified can not be an empty string"],
  ["USER", "USER requires exactly one argument"],
  ["HEALTHCHECK --timeout=soon CMD true", `HEALTHCHECK --timeout: invalid duration "soon"`],
])("applyChanges() refuses %j", (change, message) => {
  expect(() => applyChanges({}, [change])).toThrow(message);
});
