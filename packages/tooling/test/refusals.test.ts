/** What `npm start` and `npm test` say when they can't go on: one line, and nothing else is done. */
import { afterAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { run, tempDir } from "@longshore/testkit";

const repository = path.resolve(import.meta.dir, "../../..");
const temp = tempDir();
afterAll(() => temp[Symbol.dispose]());

const needsRoot = process.getuid?.() === 0 ? test : test.skip;
const withoutUsers = spawnSync("unshare", ["--user", "true"]).status !== 0;

async function refusal(argv: string[], options: { cwd?: string; env?: Record<string, string> } = {}) {
  const { status, stderr } = await run(argv, { cwd: repository, timeoutMs: 50_000, ...options });
  return { status, stderr };
}

const refused = (sentence: string) => ({ status: 1, stderr: `longshore: ${sentence}\n` });

/** npm in a mount namespace that a script has changed. */
const after = (script: string, ...npm: string[]) => [
  ...["unshare", "--mount", "sh", "-ec", `${script}; exec npm --silent "$@"`, "sh"],
  ...npm,
];

test.skipIf(withoutUsers)("who isn't root", async () => {
  const sentence = "must run as root: it makes namespaces, mounts, cgroups and network bridges";
  expect(await refusal(["unshare", "--user", "npm", "--silent", "start"])).toEqual(refused(sentence));
});

needsRoot("no cgroups, for npm start and npm test alike", async () => {
  const sentence = "no cgroup file system is mounted (at /sys/fs/cgroup)";
  const without = "umount --recursive --lazy /sys/fs/cgroup";
  for (const command of ["start", "test"]) {
    expect(await refusal(after(without, command))).toEqual(refused(sentence));
  }
});

needsRoot("a system that isn't Debian's kind", async () => {
  const release = path.join(temp.path, "os-release");
  fs.writeFileSync(release, 'ID=fedora\nPRETTY_NAME="Fedora Linux 44"\n');
  const other = `mount --bind ${release} "$(readlink -f /etc/os-release)"`;
  expect(await refusal(after(other, "start"))).toEqual(
    refused("needs Debian or Ubuntu, this is Fedora Linux 44"),
  );
});

test("a Node.js that is too old", async () => {
  const bin = path.join(temp.path, "bin");
  fs.mkdirSync(bin);
  fs.writeFileSync(path.join(bin, "node"), "#!/bin/sh\necho v18.20.4\n", { mode: 0o755 });
  const tsx = path.join(repository, "packages/tooling/bin/tsx");
  expect(await refusal([tsx, "x.ts"], { env: { PATH: `${bin}:${process.env.PATH}` } })).toEqual(
    refused("needs Node.js 20 or newer, this is 18"),
  );
});

needsRoot("no network to the package sources of the system", async () => {
  // As on a machine on which nothing is installed and no list was ever fetched.
  const apt = path.join(temp.path, "apt");
  for (const dir of ["state/lists/partial", "cache/archives/partial", "dpkg/info", "dpkg/updates", "parts"])
    fs.mkdirSync(path.join(apt, dir), { recursive: true });
  fs.writeFileSync(path.join(apt, "dpkg/status"), "");
  fs.writeFileSync(path.join(apt, "sources.list"), "deb http://packages.invalid/debian stable main\n");
  fs.writeFileSync(
    path.join(apt, "apt.conf"),
    [
      `Dir::State "${apt}/state/";`,
      `Dir::State::status "${apt}/dpkg/status";`,
      `Dir::Cache "${apt}/cache/";`,
      `Dir::Etc::sourcelist "${apt}/sources.list";`,
      `Dir::Etc::sourceparts "${apt}/parts";`,
    ].join("\n"),
  );
  const { status, stderr } = await refusal(["unshare", "--net", "npm", "--silent", "start"], {
    env: { APT_CONFIG: path.join(apt, "apt.conf"), DPKG_ADMINDIR: path.join(apt, "dpkg") },
  });
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /^longshore: can't install (\S+, )*nats-server, procps: .*http:\/\/packages\.invalid\/.*\n$/,
  );
});

needsRoot("no network to npm's registry", async () => {
  const clone = path.join(temp.path, "clone");
  fs.mkdirSync(clone);
  fs.copyFileSync(path.join(repository, "package.json"), path.join(clone, "package.json"));
  for (const dir of ["bin", "src"]) {
    fs.cpSync(path.join(repository, "packages/tooling", dir), path.join(clone, "packages/tooling", dir), {
      recursive: true,
    });
  }
  const env = { HOME: path.join(temp.path, "home"), npm_config_cache: path.join(temp.path, "cache") };
  const { status, stderr } = await refusal(["unshare", "--net", "npm", "--silent", "start"], {
    cwd: clone,
    env,
  });
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /^longshore: npm can't fetch tsx@\S+: is there a network, and a package registry that npm can reach\?\n$/,
  );
});

needsRoot("no network to the registry of the workspace's packages", async () => {
  const clone = path.join(temp.path, "installed");
  fs.cpSync(path.join(temp.path, "clone"), clone, { recursive: true });
  for (const name of ["pnpm-lock.yaml", "pnpm-workspace.yaml"])
    fs.copyFileSync(path.join(repository, name), path.join(clone, name));
  for (const top of ["packages", "services"]) {
    for (const name of fs.readdirSync(path.join(repository, top))) {
      fs.mkdirSync(path.join(clone, top, name), { recursive: true });
      const manifest = path.join(top, name, "package.json");
      fs.copyFileSync(path.join(repository, manifest), path.join(clone, manifest));
    }
  }
  fs.mkdirSync(path.join(clone, "node_modules/.bin"), { recursive: true });
  fs.symlinkSync(path.join(repository, "node_modules/.bin/tsx"), path.join(clone, "node_modules/.bin/tsx"));
  const store = path.join(temp.path, "store");
  const { status, stderr } = await refusal(["unshare", "--net", "npm", "--silent", "start"], {
    cwd: clone,
    env: { pnpm_config_store_dir: store, pnpm_config_fetch_retries: "0", XDG_CACHE_HOME: store },
  });
  expect(status).toBe(1);
  expect(stderr).toMatch(/^longshore: can't install the workspace's packages: \S+: .*name resolution.*\n$/);
});
